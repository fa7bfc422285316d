"""A bidirectional recurrent network that classifies sentences."""

from torch import Tensor, nn

from axopt.zoo.registry import register_model

WORDS = 9015
"""How many word numbers the reader "polarity" uses: padding, unknown and its vocabulary."""

PADDING = 0


class LstmSentiment(nn.Module):
    """An embedding, a bidirectional LSTM, the maximum over the words, and a linear layer.

    Input ``(N, T)`` int64 word numbers, followed by `PADDING`; output
    ``(N, num_classes)`` logits.

    Args:
        words: How many word numbers there are.
        embedding: Size of a word's vector.
        hidden: Size of the state of each direction.
        num_classes: Outputs of the last layer.
    """

    def __init__(
        self, words: int = WORDS, embedding: int = 64, hidden: int = 64, num_classes: int = 2
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, embedding, padding_idx=PADDING)
        self.dropout = nn.Dropout(0.5)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, num_classes)

    def forward(self, words: Tensor) -> Tensor:
        states, _ = self.lstm(self.dropout(self.embedding(words)))
        padded = (words == PADDING).unsqueeze(2)
        highest = states.masked_fill(padded, -1.0).amax(1)  # states lie in (-1, 1)
        logits: Tensor = self.fc(self.dropout(highest))
        return logits


@register_model("lstm_sentiment", metric="f1")
def lstm_sentiment() -> LstmSentiment:
    """Classifier of sentences of film reviews (643,778 parameters)."""
    return LstmSentiment()

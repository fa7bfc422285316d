"""Sentences of film reviews, positive or negative, as word numbers.

.. [Pang2005] B. Pang and L. Lee, "Seeing Stars: Exploiting Class Relationships for Sentiment
   Categorization with Respect to Rating Scales", ACL 2005: 5,331 sentences of each kind,
   tokenised and in lower case, one a line.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from axopt.data.dataset import Dataset
from axopt.data.limits import BYTES_PER_SAMPLE, check_unpacked
from axopt.data.registry import register_reader
from axopt.data.splitting import split_three_ways
from axopt.errors import DatasetError
from axopt.files import read_bytes

CLASSES = ("negative", "positive")
LENGTH = 48
"""Words of a sample. The 0.4 % of the sentences that are longer are cut off."""

PADDING, UNKNOWN = 0, 1
_FIRST_WORD = 2  # number of the vocabulary's first word
_FILES = ("rt-polarity.neg", "rt-polarity.pos")
_PERIOD = 10  # 80 % train, 10 % validation, 10 % test
_MAX_BYTES = 256 << 20
_VOCABULARY = Path(__file__).with_name("polarity_vocabulary.txt")


@register_reader("polarity")
def read_polarity(path: Path) -> Dataset:
    """Read ``rt-polarity.neg`` and ``rt-polarity.pos``: samples ``(48,)`` int64.

    Words are numbered by a vocabulary that is part of axopt, so that a trained model can be used
    with any folder. `build_vocabulary` made it from the train split of [Pang2005]. Unknown words
    have number 1, and sentences are padded at the end with 0. `split_three_ways` takes a tenth of
    each class for validation and a tenth for test.

    Args:
        path: Folder with the two files in Latin-1, one sentence a line.

    Raises:
        DatasetError: If a file is missing, too large, no text or holds an empty line.
    """
    sentences, targets = read_sentences(path)
    words = vocabulary()
    numbers = chain.from_iterable(_numbers(sentence, words) for sentence in sentences)
    stored = np.fromiter(numbers, np.int64, len(sentences) * LENGTH).reshape(-1, LENGTH)
    train, validation, test = split_three_ways(
        torch.from_numpy(stored), targets, source=path, period=_PERIOD
    )
    return Dataset("rt-polarity", f"polarity:{path}", train, validation, test, CLASSES)


def read_sentences(path: Path) -> tuple[list[list[str]], Tensor]:
    """Return the words of all sentences and their classes, ``(N,)`` int64, negative ones first.

    Raises:
        DatasetError: As `read_polarity`.
    """
    if not path.is_dir():
        raise DatasetError(f"{path}: no such folder of {' and '.join(_FILES)}.")
    contents = [_read_text(path / name) for name in _FILES]
    lines = sum(content.count(b"\n") + 1 for content in contents)
    check_unpacked(
        path, packed=max(map(len, contents)), unpacked=lines * (8 * LENGTH + BYTES_PER_SAMPLE)
    )
    by_class = [
        _split_words(path / name, content) for name, content in zip(_FILES, contents, strict=True)
    ]
    targets = [torch.full((len(lines),), label) for label, lines in enumerate(by_class)]
    return [words for lines in by_class for words in lines], torch.cat(targets)


def _read_text(path: Path) -> bytes:
    if not path.is_file():
        raise DatasetError(f"{path}: no such file of sentences.")
    content = read_bytes(path, limit=_MAX_BYTES)
    if b"\0" in content:  # every other byte is a character of Latin-1
        raise DatasetError(f"{path}: no text: a zero byte at offset {content.index(0)}.")
    return content


def _split_words(path: Path, content: bytes) -> list[list[str]]:
    """Return the words of each line."""
    lines = content.decode("latin-1").removesuffix("\n").split("\n")
    sentences = [line.split() for line in lines]
    if [] in sentences:
        raise DatasetError(f"{path}: line {sentences.index([]) + 1} holds no word.")
    return sentences


def build_vocabulary(sentences: Iterable[Sequence[str]]) -> list[str]:
    """Return the words that occur at least twice, by falling frequency, then alphabetically."""
    counts = Counter(word for sentence in sentences for word in sentence)
    return sorted((w for w, n in counts.items() if n > 1), key=lambda w: (-counts[w], w))


@cache
def vocabulary() -> Mapping[str, int]:
    """Return the number of each known word; the numbers start at 2."""
    words = _VOCABULARY.read_text("utf-8").split("\n")[:-1]
    return {word: number for number, word in enumerate(words, _FIRST_WORD)}


def encode(sentence: Sequence[str], words: Mapping[str, int]) -> Tensor:
    """Return a sentence as ``(48,)`` int64: word numbers, 1 for unknown words, then zeros."""
    return torch.tensor(_numbers(sentence, words))


def _numbers(sentence: Sequence[str], words: Mapping[str, int]) -> list[int]:
    numbers = [words.get(word, UNKNOWN) for word in sentence[:LENGTH]]
    return numbers + [PADDING] * (LENGTH - len(numbers))

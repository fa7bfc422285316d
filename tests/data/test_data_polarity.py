import os

import pytest
import torch

from axopt.data import load_data
from axopt.data.polarity import (
    LENGTH,
    PADDING,
    UNKNOWN,
    build_vocabulary,
    encode,
    read_sentences,
    vocabulary,
)
from axopt.errors import DatasetError


def write(folder, negative, positive):
    (folder / "rt-polarity.neg").write_bytes(negative)
    (folder / "rt-polarity.pos").write_bytes(positive)
    return f"polarity:{folder}"


def lines(n, word="the"):
    return "".join(f"{word} film\n" for _ in range(n)).encode()


def test_sentences_become_numbers_of_words_padded_behind(tmp_path):
    data = load_data(write(tmp_path, lines(10), b"the   caf\xe9 zzzz-unheard\n" * 10))
    the, film = vocabulary()["the"], vocabulary()["film"]
    first, last = data.train.stored[0], data.train.stored[-1]
    assert data.train.stored.dtype == torch.int64
    assert first.tolist() == [the, film] + [PADDING] * (LENGTH - 2)
    assert last[0] == the
    assert last[2] == UNKNOWN
    ((batch, targets),) = data.train.batches(100)
    assert torch.equal(batch, data.train.stored)
    assert data.classes[targets[-1]] == "positive"


def test_the_split_takes_tenths_of_each_class_in_the_order_of_the_files(tmp_path):
    data = load_data(write(tmp_path, lines(30), lines(20)))
    for split, counts in ((data.train, [24, 16]), (data.validation, [3, 2]), (data.test, [3, 2])):
        assert torch.bincount(split.targets).tolist() == counts
    numbered = "".join(f"{word}\n" for word in list(vocabulary())[:30]).encode()
    data = load_data(write(tmp_path, numbered, lines(10)))
    assert (data.validation.stored[:3, 0] - 2).tolist() == [8, 18, 28]
    assert (data.test.stored[:3, 0] - 2).tolist() == [9, 19, 29]


def test_long_sentences_lose_their_end():
    words = {str(i): i + 2 for i in range(60)}
    assert encode([str(i) for i in range(60)], words).tolist() == list(range(2, LENGTH + 2))


def test_the_vocabulary_is_ordered_by_frequency_then_letters():
    sentences = [["b", "a", "once"], ["a", "b", "c"], ["c", "c"]]
    assert build_vocabulary(sentences) == ["c", "a", "b"]


def test_lines_end_at_line_feeds_only(tmp_path):
    """0x85 is a line end to `str.splitlines`, but a character of these files."""
    data = load_data(write(tmp_path, b"the film\x85the film\n" * 10, lines(10)))
    assert len(data.train) == 16


@pytest.mark.parametrize(
    ("negative", "positive", "message"),
    [
        (b"", lines(10), r"rt-polarity\.neg: line 1 holds no word"),
        (lines(10), lines(3) + b" \n" + lines(2), r"rt-polarity\.pos: line 4 holds no word"),
        (lines(10), "film\n".encode("utf-16-le"), r"rt-polarity\.pos: no text: a zero byte at"),
        (lines(4), lines(5), "at least 10 samples, got 9"),
    ],
)
def test_bad_files_are_refused(tmp_path, negative, positive, message):
    with pytest.raises(DatasetError, match=message):
        load_data(write(tmp_path, negative, positive))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DatasetError, match="absent: no such folder of rt-polarity.neg and"):
        load_data(f"polarity:{tmp_path / 'absent'}")
    write(tmp_path, lines(10), lines(10))
    os.remove(tmp_path / "rt-polarity.pos")
    with pytest.raises(DatasetError, match=r"rt-polarity\.pos: no such file of sentences"):
        load_data(f"polarity:{tmp_path}")


def test_the_vocabulary_is_that_of_the_train_split(shared_data):
    folder = shared_data / "rt-polarity"
    if not folder.is_dir():
        pytest.skip(f"needs real data: no folder {folder}")
    data = load_data(f"polarity:{folder}")
    assert [len(data.train), len(data.validation), len(data.test)] == [8530, 1066, 1066]
    sentences, _ = read_sentences(folder)
    train = [words for i, words in enumerate(sentences) if i % 10 < 8]
    assert build_vocabulary(train) == list(vocabulary())

import sys
from pathlib import Path

import numpy as np
import torch

from axopt.data import load_data


def splits_of(data):
    return data.train, data.validation, data.test


def test_digits_are_what_scikit_learn_has(monkeypatch):
    """Whether they are read from its file, or it is asked because its file is elsewhere."""
    from sklearn.datasets import load_digits

    data = load_data("digits")
    assert [len(split) for split in splits_of(data)] == [1079, 359, 359]
    assert data.classes == tuple("0123456789")
    assert data.train.stored.shape[1:] == (1, 8, 8)
    inputs = torch.cat([(split.inputs * 16).flatten(1) for split in splits_of(data)])
    targets = torch.cat([split.targets for split in splits_of(data)])
    ours = torch.cat([inputs, targets[:, None].float()], dim=1)
    theirs = load_digits()
    theirs = np.column_stack([theirs.data, theirs.target])
    assert sorted(ours.tolist()) == sorted(theirs.tolist())

    monkeypatch.setattr(Path, "is_file", lambda path: False)
    asked = load_data("digits")
    assert [s.digest for s in splits_of(asked)] == [s.digest for s in splits_of(data)]


def test_digits_are_read_without_scikit_learn(monkeypatch):
    """Importing it takes two seconds."""
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert len(load_data("digits").train) == 1079


def test_every_split_has_every_class_alike():
    data = load_data("digits")
    for split, expected in ((data.train, 107.9), (data.validation, 35.9), (data.test, 35.9)):
        counts = torch.bincount(split.targets)
        assert len(counts) == 10
        assert (counts - expected).abs().max() < 4


def test_the_split_is_for_ever():
    """The zoo's weights and every stored result depend on it."""
    data = load_data("digits")
    assert data.train.digest[:16] == "d5a06af2213e02f1"
    assert data.validation.digest[:16] == "ea99126a8b2badcf"
    assert data.test.digest[:16] == "769e1eb546959241"

import torch

from axopt.data import load_data


def test_digits_are_what_scikit_learn_has():
    from sklearn.datasets import load_digits

    data = load_data("digits")
    splits = (data.train, data.validation, data.test)
    assert [len(split) for split in splits] == [1079, 359, 359]
    assert data.classes == tuple("0123456789")
    assert data.train.stored.shape[1:] == (1, 8, 8)
    ours = torch.cat([(split.inputs * 16).flatten(1) for split in splits])
    theirs = torch.from_numpy(load_digits().data).float()
    assert torch.equal(torch.tensor(sorted(ours.tolist())), torch.tensor(sorted(theirs.tolist())))


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

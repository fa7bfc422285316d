import pytest
import torch
from torch import nn

import axopt
from axopt.errors import ArgumentError, DatasetError
from axopt.evaluation import wilson_interval


def batches(n=10, classes=4):
    """Inputs are one-hot logits; every third target is wrong."""
    targets = torch.arange(n) % classes
    inputs = nn.functional.one_hot(targets, classes).float()
    targets = torch.where(torch.arange(n) % 3 == 0, (targets + 1) % classes, targets)
    return [(inputs[:7], targets[:7]), (inputs[7:], targets[7:])]


def test_counts_right_answers_over_all_batches_including_the_last():
    result = axopt.evaluate(nn.Identity(), batches())
    assert (result.metric, result.n, result.value) == ("top1", 10, 60.0)
    assert result.low < 60 < result.high
    assert axopt.evaluate(nn.Identity(), batches(), "top5").value == 100.0


def test_wilson_interval_known_values():
    # Wilson score interval for 81 of 263 (Newcombe, Statistics in Medicine 1998, table I)
    low, high = wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    low, high = wilson_interval(0, 20)
    assert low == 0
    assert round(high, 4) == 0.1611
    low, high = wilson_interval(20, 20)
    assert high == 1
    assert round(low, 4) == 0.8389
    for bad in ((1, 0), (-1, 5), (6, 5)):
        with pytest.raises(ArgumentError):
            wilson_interval(*bad)


def test_training_flags_are_restored():
    model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(4)).train()
    model[1].eval()
    axopt.evaluate(model, batches())
    assert (model.training, model[0].training, model[1].training) == (True, True, False)


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        ([], {}, DatasetError, "no samples"),
        (batches(), {"metric": "auc"}, ArgumentError, "'auc'"),
        (batches(), {"batch_size": 0}, ArgumentError, "`batch_size`"),
        ([(torch.ones(2, 4), torch.tensor([0, 4]))], {}, DatasetError, r"0..3.*0..4"),
        ([(torch.ones(2, 4), torch.tensor([0, -1]))], {}, DatasetError, r"-1..0"),
        ([(torch.ones(3, 4), torch.tensor([0, 1]))], {}, DatasetError, "N=2"),
    ],
)
def test_bad_input(data, options, error, message):
    with pytest.raises(error, match=message):
        axopt.evaluate(nn.Identity(), data, **options)

import hashlib

import torch

from axopt.data import load_data
from axopt.data.latents import DIGITS, LATENT


def test_latents_are_normal_numbers_and_a_digit():
    data = load_data("latents")
    assert [len(data.train), len(data.validation), len(data.test)] == [4000, 2000, 2000]
    for split in (data.train, data.validation, data.test):
        normal, digit = split.inputs.split([LATENT, DIGITS], 1)
        assert torch.equal(digit.argmax(1), split.targets)
        assert torch.equal(digit.sum(1), torch.ones(len(split)))
        assert torch.bincount(split.targets).unique().numel() == 1
        assert abs(float(normal.mean())) < 0.02
        assert abs(float(normal.std()) - 1) < 0.02
        assert torch.equal(normal * 1024, (normal * 1024).round())


def test_latents_are_the_same_on_every_machine():
    """Else the shipped results would not be reproduced; numpy keeps the stream of a seed."""
    stored = load_data("latents").test.stored
    digest = hashlib.sha256(stored.numpy().astype("<f4").tobytes()).hexdigest()
    assert digest == ("35fc1c079bd7fec4d1f157bb35640b0c771a344b1ce9e83b9ab7e6d14ebdabdb")

import gc

import pytest
import torch

from axopt.bench import timing
from axopt.bench.timing import Variant, interleaved, median_ratio, torch_threads
from axopt.errors import ArgumentError


class Clock:
    """A clock that only the variants move."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "perf_counter", clock)
    return clock


def takes(clock, ms, log=None, name=""):
    """A function that lasts ``ms`` on the clock."""

    def run():
        clock.now += ms / 1e3
        if log is not None:
            log.append(name)

    return run


def test_variants_take_turns_and_every_other_round_goes_backwards(clock):
    log = []
    variants = {name: Variant(takes(clock, 1, log, name)) for name in "abc"}
    interleaved(variants, repeats=3)
    assert "".join(log) == "abc" + "abc" + "cba" + "abc"


def test_times_are_milliseconds_of_each_round_without_the_warm_up(clock):
    durations = iter([900, 1, 2, 3])

    def run():
        clock.now += next(durations) / 1e3

    times = interleaved({"a": Variant(run)}, repeats=3)
    assert times == {"a": pytest.approx([1, 2, 3])}


def test_setting_up_is_not_timed(clock):
    variant = Variant(takes(clock, 2), set_up=takes(clock, 50))
    assert interleaved({"a": variant}, repeats=2) == {"a": pytest.approx([2, 2])}


def test_short_calls_are_repeated_and_divided(clock):
    log = []
    times = interleaved({"a": Variant(takes(clock, 0.5, log))}, repeats=1, min_ms=5)
    assert times == {"a": pytest.approx([0.5])}
    assert len(log) == 2 + 10  # warm-up, one to choose the number, and that number


def test_rounds_are_reported(clock):
    done = []
    interleaved({"a": Variant(takes(clock, 1))}, repeats=2, after_round=done.append)
    assert done == [1, 2, 3]


def test_no_garbage_is_collected_while_timing():
    assert gc.isenabled()
    seen = []
    interleaved({"a": Variant(lambda: seen.append(gc.isenabled()))}, repeats=1)
    assert not any(seen)
    assert gc.isenabled()


@pytest.mark.parametrize("repeats", [0, -1])
def test_repeats_are_positive(repeats):
    with pytest.raises(ArgumentError, match=f"`repeats` must be >= 1, got {repeats}"):
        interleaved({}, repeats=repeats)


def test_ratios_are_taken_in_each_round_before_the_median():
    times, reference = [3, 10, 2], [1, 20, 4]  # the machine was slow in the second round
    assert median_ratio(times, reference) == 0.5  # a ratio of medians would be 3 / 4


def test_threads_are_given_back_whatever_happens():
    def fails():
        with torch_threads(1):
            raise KeyError(torch.get_num_threads())

    before = torch.get_num_threads()
    with pytest.raises(KeyError, match="1"):
        fails()
    assert torch.get_num_threads() == before

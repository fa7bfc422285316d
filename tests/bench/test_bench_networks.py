import copy

import pytest
import torch
from torch import nn

from axopt.bench import DEFAULT_NETWORKS, NETWORKS, UNSIGNED_SAMPLE, bench_networks, memory, whole
from axopt.bench.networks import folded_float, untrained
from axopt.errors import ArgumentError
from axopt.zoo import create_model, list_models

TOLERANCE = 1e-4  # folding reorders float32 sums


@pytest.fixture
def two(library):
    return [library["mul8s_1L2H"], library["mul8u_2HH"]]


def test_a_network_is_measured_with_every_multiplier_and_number_of_threads(two):
    results = bench_networks(["digits_cnn"], two, batch=5, threads=[1, 2], repeats=2, memory=False)
    assert [(r.network, r.threads) for r in results] == [("digits_cnn", 1), ("digits_cnn", 2)]
    for result in results:
        assert result.input == (5, 1, 8, 8)
        assert (result.macs, result.layers) == (777_088, 7)
        assert result.fp32_ms > 0
        assert result.fp32_memory_mb is None
        assert [r.multiplier for r in result.results] == ["v1/mul8s_1L2H", "v1/mul8u_2HH"]
        assert [(r.signed, r.rank) for r in result.results] == [(True, 1), (False, 50)]
        for found in result.results:
            assert min(found.ms, found.ratio, found.assign_ms) > 0
            assert (found.memory_mb, found.memory_ratio) == (None, None)


def test_each_variant_runs_with_its_own_multiplier_and_threads(two, monkeypatch):
    ran = []

    class Spy(nn.Module):
        def __init__(self, emulated):
            super().__init__()
            self.emulated, self.macs = emulated, emulated.macs

        def forward(self, x):
            chosen = {layer.multiplier for layer in self.emulated.layers()}
            ran.append((torch.get_num_threads(), torch.is_inference_mode_enabled(), *chosen))
            return self.emulated(x)

    prepared = whole.emulated_network
    monkeypatch.setattr(whole, "emulated_network", lambda *args: Spy(prepared(*args)))
    monkeypatch.setattr(whole, "assign_", lambda spy, m: original(spy.emulated, m))
    from axopt.model import assign_ as original

    bench_networks(["digits_cnn"], two, batch=1, threads=[2, 1], repeats=1, memory=False)
    keys = [multiplier.key for multiplier in two]
    assert ran == [(n, True, key) for n in (2, 1) for _ in range(2) for key in keys]


def test_ratios_of_memory_are_over_fp32(two, monkeypatch):
    peaks = {None: 10.0, two[0].key: 13.0, two[1].key: None}

    def peak(network, multiplier, *, batch, threads):
        assert (network, batch, threads) == ("digits_cnn", 3, 2)
        return peaks[multiplier and multiplier.key]

    monkeypatch.setattr(whole, "peak_growth_mb", peak)
    one, result = bench_networks(["digits_cnn"], two, batch=3, threads=[1, 2], repeats=1)
    assert one.fp32_memory_mb is None  # it is measured with the most threads only
    assert result.fp32_memory_mb == 10.0
    assert [r.memory_mb for r in result.results] == [13.0, None]
    assert [r.memory_ratio for r in result.results] == [1.3, None]


def test_peak_memory_grows_with_the_batch(library):
    small, large = (
        memory.peak_growth_mb("digits_cnn", library["mul8s_1KV8"], batch=batch, threads=1)
        for batch in (1, 2000)
    )
    if small is None:
        pytest.skip("this system does not tell the peak of a process")
    widest_layer_mb = 2000 * 32 * 8 * 8 * 4 / 1e6
    assert large - small > widest_layer_mb / 2
    assert large < 50 * widest_layer_mb


def test_the_peak_so_far_can_be_forgotten():
    """Private names: another process measures, whose memory cannot be arranged from here."""
    large = bytearray(100_000_000)
    assert memory._status_mb("VmHWM") > 100
    del large
    if not memory._forget_peak():
        pytest.skip("this system does not forget the peak of a process")
    assert memory._status_mb("VmHWM") - memory._status_mb("VmRSS") < 10


def test_unknown_peaks_are_none(monkeypatch, tmp_path):
    """Private names: a spawned process would not see the changed path."""
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "no" / "such")
    assert memory._measure("digits_cnn", None, 1, torch.get_num_threads()) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"networks": ["alexnet"]}, "`networks` must be of digits_cnn, .*; got 'alexnet'"),
        ({"networks": []}, "`networks` must not be empty"),
        ({"multipliers": []}, "`multipliers` must not be empty"),
        ({"batch": 0}, "`batch` must be >= 1, got 0"),
        ({"threads": [2, 0]}, "`threads` must be >= 1, got 0"),
        ({"threads": []}, "`threads` must be >= 1, got 0"),
        ({"repeats": 0}, "`repeats` must be >= 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused(options, message, two):
    call = {"networks": ["digits_cnn"], "multipliers": two, "batch": 1, "memory": False} | options
    with pytest.raises(ArgumentError, match=message):
        bench_networks(call.pop("networks"), call.pop("multipliers"), **call)


@pytest.mark.parametrize("name", list_models(pretrained=False))
def test_the_fp32_model_is_folded_channels_last_and_computes_the_same(name):
    network = NETWORKS[name]
    model = network.build()
    before = copy.deepcopy(model.state_dict())
    folded = folded_float(network, model)
    norms = nn.modules.batchnorm._BatchNorm
    assert not any(isinstance(module, norms) for module in folded.modules())
    weights = [m.weight for m in folded.modules() if isinstance(m, nn.Conv2d)]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
    inputs = network.inputs(3)
    with torch.inference_mode():
        expected = model(inputs)
        difference = (folded(inputs) - expected).abs().max() / expected.abs().max()
    assert difference < TOLERANCE
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def small_untrained():
    inputs = NETWORKS["mobilenetv2_small"].inputs(2)
    return untrained(lambda: create_model("mobilenetv2_small", pretrained=False), inputs)


def test_untrained_networks_are_the_same_each_time_and_have_seen_images():
    a, b = small_untrained(), small_untrained()
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    norms = [m for m in a.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not any(torch.equal(m.running_var, torch.ones_like(m.running_var)) for m in norms)
    assert not a.training


def test_building_a_network_leaves_torchs_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    small_untrained()
    assert torch.equal(torch.get_rng_state(), before)


def test_images_are_the_same_each_time_and_channels_last():
    network = NETWORKS["resnet20"]
    images = network.inputs(4)
    assert images.shape == (4, 3, 32, 32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, network.inputs(4))
    assert 0 <= images.min() < images.max() <= 1


def test_words_are_numbers_of_words():
    words = NETWORKS["lstm_sentiment"].inputs(4)
    assert (words.shape, words.dtype) == ((4, 48), torch.int64)
    assert 1 <= words.min() < words.max() < 9015


@pytest.mark.parametrize(("batch", "large"), [(128, 8), (15, 1), (256, 16)])
def test_large_images_come_in_smaller_batches(batch, large):
    for name in DEFAULT_NETWORKS:
        expected = large if name.endswith("_224") else batch
        assert NETWORKS[name].batch(batch) == expected


def test_the_unsigned_sample_has_the_ranks_that_it_says(library):
    assert [library[name].rank for name in UNSIGNED_SAMPLE] == [1, 4, 7, 50, 193]
    assert not any(library[name].signed for name in UNSIGNED_SAMPLE)

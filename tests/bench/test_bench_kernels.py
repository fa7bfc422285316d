import pytest
import torch

from axopt import kernels
from axopt._lut_gemm import instruction_sets
from axopt.bench import bench_kernels
from axopt.bench.contenders import FP32, INT8, SCALAR, contenders
from axopt.bench.shapes import SHAPES, LayerShape, Operands

TINY = (
    LayerShape("plain", 3, 8, 6),
    LayerShape("strided", 4, 8, 7, stride=2),
    LayerShape("depthwise", 8, 8, 6, depthwise=True),
    LayerShape("pointwise", 8, 16, 4, kernel=1),
    LayerShape("linear", 16, 8, 1, kernel=1),
    LayerShape("single", 4, 8, 5, images=1),
)


def test_every_layer_is_measured_with_every_contender(monkeypatch):
    monkeypatch.setattr("axopt.bench.kernels._MIN_MS", 0.0)
    results = bench_kernels(batch=2, threads=[1, 2], repeats=1, shapes=TINY)
    assert [(r.threads, r.shape) for r in results] == [(n, s.name) for n in (1, 2) for s in TINY]
    for result in results:
        assert list(result.gmacs_per_s) == list(contenders())
        assert result.images == (1 if result.shape == "single" else 2)
        depthwise = result.shape == "depthwise"
        for name, speed in result.gmacs_per_s.items():
            none_is_right = name == INT8 or (depthwise and name.endswith(("rows", "residual")))
            assert none_is_right if speed is None else speed > 0
        if depthwise:
            assert result.gmacs_per_s[INT8] is None


def test_contenders_are_torch_the_scalar_loop_and_every_supported_kernel():
    names = list(contenders())
    assert names[:3] == [FP32, INT8, SCALAR]
    methods = [
        "1 term", "3 terms", "5 terms", "residual", "rows", "pixel_lanes", "channel_lanes"
    ]  # fmt: skip
    fast = [isa for isa in kernels.available() if isa != "reference"]
    assert names[3:] == [f"{isa}: {method}" for isa in fast for method in methods]


def test_speed_is_multiplications_over_time(monkeypatch):
    def fixed(variants, *, repeats, min_ms):
        assert (repeats, min_ms) == (7, 5.0)
        return {name: [4.0, 2.0, 1000.0] for name in variants}  # median 4 ms

    monkeypatch.setattr("axopt.bench.kernels.interleaved", fixed)
    among = {"a": lambda _: lambda: None, "b": lambda _: None}
    (result,) = bench_kernels(batch=2, shapes=TINY[:1], among=among)
    assert result.macs == 2 * 8 * 6 * 6 * 27
    assert result.gmacs_per_s == {"a": pytest.approx(result.macs / 4e-3 / 1e9), "b": None}


@pytest.mark.parametrize("shape", [*TINY, *SHAPES], ids=lambda shape: shape.name)
def test_contenders_compute_the_layer(shape):
    """Shapes of outputs, and with them the count of multiplications, are those of torch."""
    operands = Operands.of(shape, 1)
    expected = (1, shape.out_channels, shape.out_side, shape.out_side)
    found = contenders()
    with torch.inference_mode():
        fp32 = found[FP32](operands)()
        isa = kernels.available()[0]
        table = found[f"{isa}: pixel_lanes"](operands)()
        terms = found[f"{isa}: 1 term"](operands)()
    assert table.shape == terms.shape == expected
    assert fp32.numel() == table.numel()
    product = found[INT8](operands)
    if not shape.depthwise and product is not None:
        assert product().numel() == table.numel()
    assert operands.macs == fp32.numel() * operands.weight_codes[0].numel()


def test_contenders_use_their_instruction_set_and_method():
    """Results do not show the instruction set, so the private `_isa` is read."""
    operands = Operands.of(TINY[0], 1)
    names = [name for name, _ in instruction_sets()]
    for name, contender in list(contenders().items())[3:]:
        isa, method = name.split(": ")
        convolution = contender(operands).func
        assert names[convolution._isa] == isa
        assert convolution.method(10**6) == ("terms" if "term" in method else method)


def test_the_border_of_padded_codes_is_zero_on_a_signed_multiplier():
    operands = Operands.of(TINY[0], 1)
    padded = operands.padded_codes() - 128
    assert torch.equal(padded[:, :, 1:-1, 1:-1], operands.codes - 128)
    assert padded.sum(dtype=torch.int64) == (operands.codes - 128).sum(dtype=torch.int64)


def test_large_layers_come_in_smaller_batches():
    wide = LayerShape("wide", 256, 256, 32)
    assert wide.image_macs == 256 * 256 * 9 * 32 * 32
    assert wide.batch(128) == 1
    assert TINY[0].batch(128) == 128


def test_names_of_layers_are_distinct():
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)

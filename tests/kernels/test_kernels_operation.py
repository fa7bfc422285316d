"""The constructor of a native operation refuses every wrong argument by its name.

The binding is private to axopt.kernels; it is tested by itself because nothing behind it checks.
"""

import numpy as np
import pytest
from grid import each
from kernel_cases import CODES

from axopt import _lut_gemm
from axopt.errors import ArgumentError
from axopt.kernels import PackedTable, Window
from axopt.kernels.dispatch import active_index
from axopt.kernels.operations import METHODS
from axopt.kernels.packing import pack_channel_lanes, pack_classes, pack_dense, pack_depthwise
from axopt.kernels.residual import Residual
from axopt.kernels.terms import Terms

WEIGHTS = np.arange(6 * 4 * 3 * 3, dtype=np.uint8).reshape(6, 4, 3, 3)
THIN = np.arange(6 * 3 * 3, dtype=np.uint8).reshape(6, 1, 3, 3)
TABLE = PackedTable.of(np.multiply.outer(np.arange(256), np.arange(256)))
TERMS = Terms(CODES[None] & 252, CODES[None].view(np.int8), np.zeros(256, np.int32), 3, 255)
RESIDUAL = Residual(TERMS, np.full((256, 16), 127, np.uint8), CODES % 16)
EVERY = (*METHODS, "depthwise")


def arguments(method, /, **changed):
    """Right arguments of an operation, some of them changed."""
    weights = THIN if method == "depthwise" else WEIGHTS
    found = {
        "isa_index": active_index(),
        "method": method,
        "weight_shape": weights.shape,
        "stride": (1, 1),
        "dilation": (1, 1),
        "padding": (1, 0),
        "groups": 6 if method == "depthwise" else 1,
        "offset": np.zeros(6, np.int32),
        "scale": np.ones(6, np.float32),
        "bias": np.zeros(6, np.float32),
        "code_map": np.minimum(CODES, 127) * 2,
        "shift": 1,
    }
    code_bytes = _lut_gemm.code_bytes(active_index())
    if method == "depthwise":
        found |= pack_depthwise(TERMS, THIN, None).arguments()
    elif method in ("terms", "residual"):
        found |= pack_dense(TERMS, WEIGHTS, 1, code_bytes).arguments()
    else:
        table, flat = TABLE, WEIGHTS.reshape(-1)
        if method == "channel_lanes":
            table, flat = TABLE.transposed, pack_channel_lanes(WEIGHTS, 1)
        found |= {"columns": table.columns, "planes": table.planes, "weights": flat}
    if method == "residual":
        found |= {"rows": RESIDUAL.rows, "classes": pack_classes(RESIDUAL, WEIGHTS, 1, code_bytes)}
    if method != "depthwise":
        found["zero_point"] = np.full(6, 128, np.int32)
    return found | changed


@pytest.mark.parametrize("method", EVERY)
def test_right_arguments_are_taken_and_counted(method):
    operation = _lut_gemm.Operation(**arguments(method))
    found = arguments(method)
    extra = found["classes"].nbytes if method == "residual" else 0
    assert operation.nbytes == found["weights"].nbytes + extra


ARRAYS = {
    "weights": EVERY,
    "maps": ("terms", "depthwise", "residual"),
    "masks": ("terms", "depthwise", "residual"),
    "rows": ("residual",),
    "classes": ("residual",),
    "columns": ("rows", "pixel_lanes", "channel_lanes"),
    "planes": ("rows", "pixel_lanes", "channel_lanes"),
    "offset": EVERY,
    "zero_point": METHODS,
    "scale": EVERY,
    "bias": EVERY,
    "code_map": EVERY,
}


@each("name, method", [(n, m) for n in ARRAYS for m in ARRAYS[n]])
def test_arrays_of_another_length_dtype_or_order(name, method):
    right = arguments(method)[name]
    spaced = np.empty((*right.shape[:-1], 2 * right.shape[-1]), right.dtype)[..., ::2]
    shifted = np.empty(right.nbytes + 1, np.uint8)[1:].view(right.dtype).reshape(right.shape)
    wrong = [
        right[:-1],
        np.concatenate([right, right[:1]]),
        right[None],
        right.astype(np.int64),
        right.astype(right.dtype.newbyteorder()),
        spaced,
        right.tolist(),
    ]
    if right.itemsize == 1:  # another byte order is the same, and every address is aligned
        wrong.pop(4)
    else:
        wrong.append(shifted)
    if name not in ("zero_point", "code_map", "offset"):
        wrong.append(None)
    for value in wrong:
        with pytest.raises(ArgumentError, match=f"`{name}`|`masks`"):
            _lut_gemm.Operation(**arguments(method, **{name: value}))


def changed(array, value):
    array = array.copy()
    array.flat[-1] = value
    return array


@pytest.mark.parametrize("method", EVERY)
@each(
    "name, value",
    [
        ("isa_index", 99),
        ("isa_index", -1),
        ("isa_index", 0.0),
        ("method", "term"),
        ("method", None),
        ("weight_shape", (6, 4, 3)),
        ("weight_shape", [6, 4, 3, 3]),
        ("weight_shape", (6, 4, 3, 0)),
        ("weight_shape", (6, 2**31, 3, 3)),
        ("weight_shape", (0, 4, 3, 3)),
        ("groups", 4),
        ("groups", 0),
        ("groups", "1"),
        ("stride", (0, 1)),
        ("stride", (1, 2**31)),
        ("stride", 1),
        ("dilation", (1, 0)),
        ("dilation", (1.5, 1)),
        ("padding", (-1, 0)),
        ("padding", (0, 0, 0)),
        ("shift", 8),
        ("shift", -2),
        ("shift", 2),  # not that of the map
    ],
)
def test_numbers_out_of_range(method, name, value):
    message = "`code_map`" if (name, value) == ("shift", 2) else f"`{name}`"
    with pytest.raises(ArgumentError, match=message):
        _lut_gemm.Operation(**arguments(method, **{name: value}))


@each(
    "method, name, value",
    [
        ("terms", "row_scale", 2**31),
        ("terms", "row_scale", 0.5),
        ("depthwise", "row_scale", 3),
        ("terms", "row_mask", 256),
        ("terms", "masks", np.array([256], np.int16)),
        ("terms", "masks", np.array([-2], np.int16)),
        ("terms", "maps", np.zeros((0, 256), np.uint8)),
        ("terms", "maps", changed(TERMS.activation, 1)),  # no longer what `masks` says
        ("rows", "table_bias", -(2**31) - 1),
        ("residual", "rows", changed(RESIDUAL.rows, 128)),
        ("residual", "classes", changed(arguments("residual")["classes"], 255)),
        ("residual", "classes", changed(arguments("residual")["classes"], 0)),
        ("depthwise", "weights", np.full_like(arguments("depthwise")["weights"], 1)),
        ("depthwise", "zero_point", np.zeros(6, np.int32)),
        ("depthwise", "method", "terms"),
        ("terms", "method", "depthwise"),
    ],
)
def test_values_out_of_range(method, name, value):
    message = "`weights`" if (method, name) == ("depthwise", "method") else f"`{name}`"
    with pytest.raises(ArgumentError, match=message):
        _lut_gemm.Operation(**arguments(method, **{name: value}))


def test_a_residual_has_one_term():
    two = {"maps": np.repeat(TERMS.activation, 2, 0), "masks": np.array([252, 252], np.int16)}
    wide = Terms(two["maps"], np.repeat(TERMS.weight, 2, 0), TERMS.weight_offset, 3, 255)
    packed = pack_dense(wide, WEIGHTS, 1, _lut_gemm.code_bytes(active_index()))
    with pytest.raises(ArgumentError, match="`maps` must have one term"):
        _lut_gemm.Operation(**arguments("residual", **packed.arguments()))


@pytest.mark.parametrize("method", EVERY)
def test_runs_on_wrong_arguments(method):
    operation = _lut_gemm.Operation(**arguments(method))
    channels = 6 if method == "depthwise" else 4
    x = np.zeros((2, channels, 5, 5), np.float32)
    size = Window(padding=(1, 0)).out_size((5, 5), (3, 3))
    out = np.empty((2, *size, 6), np.float32)
    operation.run(1, x, 1.0, 0, out)
    readonly = out.copy()
    readonly.flags.writeable = False
    for name, wrong in (
        ("threads", (0, x, 1.0, 0, out)),
        ("source", (1, x[:, :3], 1.0, 0, out)),
        ("source", (1, x[0], 1.0, 0, out)),
        ("source", (1, x[:0], 1.0, 0, out)),
        ("source", (1, x.astype(np.float64), 1.0, 0, out)),
        ("source", (1, x.astype(">f4"), 1.0, 0, out)),
        ("source", (1, x.tolist(), 1.0, 0, out)),
        ("zero_point", (1, x, 1.0, 256, out)),
        ("out", (1, x[:1], 1.0, 0, out)),
        ("out", (1, x, 1.0, 0, out[..., :5].copy())),
        ("out", (1, x, 1.0, 0, out[:, ::2])),
        ("out", (1, x, 1.0, 0, out.astype(np.int64))),
        ("out", (1, x, 1.0, 0, readonly)),
        ("out", (1, x[:, :, :4], 1.0, 0, out)),
        ("out", (1, x[:, :, :, :4], 1.0, 0, out)),
    ):
        with pytest.raises(ArgumentError, match=f"`{name}`"):
            operation.run(*wrong)


def test_without_an_offset_there_are_sums_only():
    given = arguments("rows", offset=None, zero_point=None, scale=None, bias=None)
    operation = _lut_gemm.Operation(**given)
    x, out = np.zeros((1, 4, 5, 5), np.uint8), np.empty((1, 5, 3, 6), np.int32)
    operation.run(1, x, 1.0, 0, out)
    with pytest.raises(ArgumentError, match="`out` must be int32"):
        operation.run(1, x, 1.0, 0, out.astype(np.float32))


@pytest.mark.parametrize("name", ["a", "w"])
def test_the_baseline_checks_codes(name):
    operands = {"a": np.zeros((2, 3), np.int32), "w": np.zeros((4, 3), np.int32)}
    operands[name][0, 0] = 256
    out = np.empty((2, 4), np.int32)
    with pytest.raises(ArgumentError, match=f"`{name}` must hold values in 0..255, got 0..256"):
        _lut_gemm.scalar_gemm(TABLE.columns, 0, operands["a"], operands["w"], out)

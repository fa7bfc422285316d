"""Emulated convolutions as one native operation: quantise, multiply, accumulate, dequantise.

A `Convolution` binds what changes rarely - a plan, quantised weights, formats - and is then called
on float activations. Its results equal the element-wise definition bit for bit:
``code = code_of_level[clamp(round(x * (1 / scale)) + zero_point)]``, exact integer sums of table
products less the zero-point sums, then ``float(sum) * scale + bias``.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import axopt._lut_gemm as _lut_gemm
from axopt.errors import ArgumentError
from axopt.kernels.dispatch import active_index
from axopt.kernels.operations import (
    Epilogue,
    Method,
    Window,
    is_depthwise,
    residual_operation,
    table_operation,
    terms_operation,
)
from axopt.kernels.plan import Plan
from axopt.kernels.products import check_depth
from axopt.kernels.timing import Shape, choose_method
from axopt.renamed import renamed_attribute

Bounds = tuple[float, float]

_UNBOUNDED = (-math.inf, math.inf)
_SIGNED_ZERO = 128


@dataclass(frozen=True, eq=False)
class Quantiser:
    """How floats become codes.

    ``code_of_level[clamp(round(x * (1 / scale)) + zero_point, 0, 255)]``.

    Attributes:
        scale: Positive, ``()`` float32.
        zero_point: Level of zero, 0..255.
        code_of_level: Code of every level, ``(256,)`` uint8; None if levels are codes.

    Example:
        >>> import torch
        >>> from axopt.kernels import Quantiser
        >>> even_codes = (torch.arange(256).clamp(max=127) * 2).to(torch.uint8)
        >>> Quantiser(torch.tensor(0.1), 64, even_codes).zero_point
        64
    """

    scale: Tensor
    zero_point: int
    code_of_level: Tensor | None = None

    codes = renamed_attribute("Quantiser.codes", "code_of_level")


@dataclass(frozen=True, eq=False)
class Output:
    """How sums of table products become floats.

    Let o be the code that the multiplier takes for 0 (128 if signed, else 0), K the depth,
    A = a - o, W = w - o, za = activation_zero - o and zw = weight_zero - o. A result is
    ``(sum M(a, w) - zw sum A - za sum W + K za zw) * scale + bias``.

    Attributes:
        activation_zero: Code that represents zero in the activations, 0..255.
        weight_zero: Codes that represent zero in the weights, ``()`` or ``(out_channels,)`` int64,
            0..255; 128 for signed multipliers.
        scale: ``()`` or ``(out_channels,)`` float32.
        bias: ``(out_channels,)`` float32 or None; added in float32.

    Example:
        >>> import torch
        >>> from axopt.kernels import Output
        >>> Output(128, torch.tensor(128), torch.tensor(0.01)).bias is None
        True
    """

    activation_zero: int
    weight_zero: Tensor
    scale: Tensor
    bias: Tensor | None = None


class Convolution:
    """An emulated convolution of float activations with fixed quantised weights.

    The timing model chooses the method from the plan, the layer and the number of pixels. A method
    is set up at its first use. Several threads may call one convolution at the same time.

    Args:
        plan: How its products can be formed.
        weight: Weight codes, ``(out_channels, channels // groups, kernel_h, kernel_w)`` uint8.
        window: How the kernel moves.
        quantiser: From activations to codes.
        output: From sums to results.
        signed: Whether the multiplier takes ``code - 128`` as operands rather than ``code``.
        method: Use this method always, instead of the one with the least predicted time.

    Raises:
        AccumulatorError: If a sum may leave int32.
        ArgumentError: If ``method`` is "terms" or "residual" and the plan has none, or it is
            "residual" and the layer depthwise; if a signed multiplier's weights are not symmetric.

    Example:
        >>> import numpy as np, torch
        >>> from axopt.kernels import Convolution, Output, Quantiser, Window, plan
        >>> operands, step = np.arange(-128, 128), torch.tensor(0.5)
        >>> layer = Convolution(
        ...     plan(np.multiply.outer(operands, operands)),
        ...     torch.full((1, 2, 3, 3), 128 + 2, dtype=torch.uint8),  # weights of 2 * 0.5
        ...     Window(),
        ...     Quantiser(step, 128),
        ...     Output(128, torch.tensor(128), step * step),
        ...     signed=True,
        ... )
        >>> layer(torch.ones(1, 2, 3, 3))
        tensor([[[[18.]]]])
    """

    def __init__(
        self,
        plan: Plan,
        weight: Tensor,
        window: Window,
        quantiser: Quantiser,
        output: Output,
        *,
        signed: bool,
        method: Method | None = None,
    ) -> None:
        if method == "terms" and plan.terms is None:
            raise ArgumentError("`method` must not be 'terms': the plan has no separable terms.")
        depthwise = is_depthwise(weight.numpy(), window)
        if method == "residual" and (plan.residual is None or depthwise):
            raise ArgumentError(
                "`method` must not be 'residual': the plan has none, or the layer is depthwise."
            )
        if signed and not bool((output.weight_zero == _SIGNED_ZERO).all()):
            raise ArgumentError("`output.weight_zero` of a signed multiplier must be 128.")
        origin = _SIGNED_ZERO if signed else 0
        k_max = plan.k_max
        if not signed or output.activation_zero != origin:
            k_max = plan.k_max_affine(signed=signed)
        check_depth(weight[0].numel(), k_max)
        self._plan, self._window, self._method = plan, window, method
        self._isa = active_index()
        self._codes = np.ascontiguousarray(weight.numpy())
        channels = len(self._codes)
        self._inverse_scale = float(quantiser.scale.float().reciprocal())
        self._zero_point = quantiser.zero_point
        levels = quantiser.code_of_level
        self._code_of_level = None if levels is None else levels.numpy()
        self._weight_zero = output.weight_zero.expand(channels).numpy().astype(np.int64)
        self._multiplies_zero = not signed  # else the weights' zero needs no sums of activations
        self._constant = (output.activation_zero - origin) * (
            self._codes[0].size * self._weight_zero
            - self._codes.reshape(channels, -1).sum(1, dtype=np.int64)
        )
        self._scale = output.scale.float().expand(channels).contiguous().numpy()
        bias = torch.zeros(channels) if output.bias is None else output.bias.detach().float()
        self._bias = bias.contiguous().numpy()
        self._operations: dict[Method, _lut_gemm.Operation] = {}
        self._latest: tuple[int, _lut_gemm.Operation] | None = None

    @property
    def nbytes(self) -> int:
        """Memory of the packed weights."""
        packed = sum(operation.nbytes for operation in self._operations.values())
        return self._codes.nbytes + packed

    def __call__(self, x: Tensor, bounds: Bounds | None = None) -> Tensor:
        """Convolve.

        Args:
            x: ``(images, channels, height, width)`` float32 on the CPU, any strides.
            bounds: What the results are clamped to; None leaves them as they are.

        Returns:
            ``(images, out_channels, out_height, out_width)`` float32 in channels-last memory.

        Raises:
            ArgumentError: If the number of channels is wrong or the input too small.
            MemoryError: If the result or a band cannot be allocated.
        """
        out_channels, group_channels, *kernel = self._codes.shape
        channels = group_channels * self._window.groups
        if x.shape[1] != channels:
            raise ArgumentError(f"`x` must have {channels} channels, got {x.shape[1]}.")
        size = self._window.out_size((x.shape[2], x.shape[3]), (kernel[0], kernel[1]))
        out = self._empty(len(x), *size, out_channels)
        self._run(x.detach().numpy(), out.numpy(), bounds or _UNBOUNDED)
        return out.permute(0, 3, 1, 2)

    def rows(self, x: Tensor, bounds: Bounds | None = None) -> Tensor:
        """Multiply rows by the weights of a kernel with one tap, as a linear layer does.

        Args:
            x: ``(rows, channels)`` float32 on the CPU, any strides.
            bounds: What the results are clamped to; None leaves them as they are.

        Returns:
            ``(rows, out_channels)`` float32, contiguous.

        Raises:
            ArgumentError: If the number of channels is wrong.
            MemoryError: If the result or a band cannot be allocated.
        """
        out_channels, channels = self._codes.shape[:2]
        if x.shape[1] != channels:
            raise ArgumentError(f"`x` must have {channels} channels, got {x.shape[1]}.")
        out = self._empty(x.shape[0], out_channels)
        image = x.detach().numpy().T[None, :, None]  # of one line
        self._run(image, out.numpy()[None, None], bounds or _UNBOUNDED)
        return out

    def _empty(self, *shape: int) -> Tensor:
        try:
            return torch.empty(shape)
        except RuntimeError as error:  # what torch raises where memory is short
            raise MemoryError(f"no memory for the result of {self._codes.shape}") from error

    def _run(self, x: NDArray[np.float32], out: NDArray[np.float32], bounds: Bounds) -> None:
        """Write the results into ``out``, ``(images, out_height, out_width, out_channels)``."""
        if out.size and x.size:
            self._operation(math.prod(out.shape[:3])).run(
                torch.get_num_threads(),
                x,
                self._inverse_scale,
                self._zero_point,
                out,
                bounds,
            )
        elif out.size:  # nothing to sum
            out[:] = self._bias.clip(*bounds)

    def method(self, pixels: int) -> Method:
        """The method for a call with so many output pixels."""
        groups = self._window.groups
        codes = self._codes
        taps = math.prod(codes.shape[2:])
        shape = Shape(pixels, len(codes) // groups, codes[0].size, groups, taps)
        return self._method or choose_method(self._plan, shape)

    def _operation(self, pixels: int) -> "_lut_gemm.Operation":
        latest = self._latest  # a recurrent layer has as many pixels in every step
        if latest is not None and latest[0] == pixels:
            return latest[1]
        method = self.method(pixels)
        if method not in self._operations:
            self._operations[method] = self._new_operation(method)
        self._latest = (pixels, self._operations[method])
        return self._operations[method]

    def _new_operation(self, method: Method) -> "_lut_gemm.Operation":
        plan, codes, window = self._plan, self._codes, self._window
        weight_zero = self._weight_zero if self._multiplies_zero else None
        terms = None
        if method == "terms":
            terms = plan.terms
        elif method == "residual" and plan.residual is not None:
            terms = plan.residual.term
        offset = self._constant
        if terms is not None:
            flat = codes.reshape(len(codes), -1)
            offset = offset + terms.weight_offset[flat].sum(1, dtype=np.int64)
        in_weights = method == "terms" and is_depthwise(codes, window)
        epilogue = Epilogue(
            offset.astype(np.int32),  # wraps, as the sums do
            None if weight_zero is None or in_weights else weight_zero.astype(np.int32),
            self._scale,
            self._bias,
            self._code_of_level,
        )
        if method == "terms" and terms is not None:
            return terms_operation(terms, codes, window, self._isa, weight_zero, epilogue)
        if method == "residual" and plan.residual is not None:
            return residual_operation(plan.residual, codes, window, self._isa, epilogue)
        return table_operation(plan.packed, codes, window, self._isa, method, epilogue)

"""Emulated fully connected layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional

from axopt.kernels import Convolution, Window
from axopt.layers.gradients import Gradients
from axopt.layers.native import Convolutions
from axopt.layers.sums import Products
from axopt.layers.weighted import WeightedLayer
from axopt.multipliers import Multiplier


class EmulatedLinear(WeightedLayer):
    """``nn.Linear`` with products from a table; any number of leading dimensions.

    Args:
        linear: The original layer, whose parameters are used.
        multiplier: The multiplier to start with.
        **options: See `EmulatedLayer`.

    Example:
        >>> import torch
        >>> from axopt import load_library
        >>> layer = EmulatedLinear(nn.Linear(8, 4), load_library().exact(signed=True))
        >>> layer.observing = True  # calibrate
        >>> x = torch.rand(16, 8)
        >>> _ = layer(x)
        >>> layer.observing = False
        >>> layer(x).shape
        torch.Size([16, 4])
    """

    kind = "linear"

    def __init__(self, linear: nn.Linear, multiplier: Multiplier, **options: Any) -> None:
        super().__init__(linear.weight, linear.bias, multiplier, **options)

    def by_channel(self, y: Tensor) -> Tensor:
        return y.reshape(-1, y.shape[-1]).T

    def geometry(self) -> str:
        return f"weight={tuple(self.weight.shape)}"

    def exact_float(self, input: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return functional.linear(input, self.weight.to(input.dtype), bias)

    def surrogate_gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool, bool]
    ) -> Gradients:
        rows, columns = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        return (
            grad @ weight if needs[0] else None,
            rows.T @ columns if needs[1] else None,
            rows.sum(0) if needs[2] else None,
        )

    def integer_sums(self, x: Tensor, products: Products) -> Tensor:
        """Sum the products; a row of the input is an image of one pixel."""
        rows = products.quantisation.activation.codes(x.reshape(-1, x.shape[-1]))
        sums = products.image_sums(
            rows[:, :, None, None], products.codes[:, :, None, None], Window()
        )
        return self._from_rows(sums[:, :, 0, 0], x)

    def _count_channels(self, x: Tensor) -> None:
        self.channels.update(x.reshape(-1, x.shape[-1]).T)

    def _outputs(self, x: Tensor) -> int:
        return x[..., 0].numel()

    def _windows_at(self, x: Tensor, at: Tensor, padding: float) -> tuple[Tensor, Tensor | None]:
        return x.reshape(-1, x.shape[-1])[at][:, None], None

    def _from_rows(self, rows: Tensor, x: Tensor) -> Tensor:
        return rows.view(*x.shape[:-1], rows.shape[-1])

    def _as_kernels(self, codes: Tensor) -> list[tuple[Tensor, Window] | None]:
        return [(codes[:, :, None, None], Window())]

    def _convolved(
        self,
        convolutions: Convolutions,
        x: Tensor,
        bounds: tuple[float, float] | None,
    ) -> Tensor:
        convolution = cast(Convolution, convolutions[0])
        if x.ndim == 2:
            return convolution.rows(x, bounds)
        return self._from_rows(convolution.rows(x.reshape(-1, x.shape[-1]), bounds), x)

    def resolved(self) -> Callable[[Tensor], Tensor] | None:
        """Return `forward` for rows without gradients, valid as long as the layer is unchanged.

        A recurrent network calls the layer once a time step. This saves the look-ups of `forward`,
        which take half of the time of a small product.

        Returns:
            A function of ``(rows, channels)``; None if `forward` does more than run the native
            operation.

        Raises:
            CalibrationError: If the layer was never calibrated.
        """
        if self.observing or self.weight.device.type != "cpu":
            return None
        quantisation = self.quantisation()
        if self.summed_by_windows(quantisation):
            return None
        convolution = cast(Convolution, self.native(quantisation)[0])
        bounds = self.bounds

        def rows(x: Tensor) -> Tensor:
            return convolution.rows(x.float(), bounds).to(x.dtype)

        return rows

    def prepared(self, x: Tensor) -> Tensor:
        return x

    def _per_output(self, values: Tensor) -> Tensor:
        return values

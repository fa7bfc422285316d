"""Products that a module computes by calling a function, as modules of their own.

``functional.conv2d(x, w, b, ...)`` in a forward pass becomes a `CalledConv2d` that is called with
``x`` alone. Its weight and bias are expressions (`axopt.modules.recorded`), not parameters of its
own: the parameters stay where they are, under their names.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from axopt.modules.recorded import Recorded

Given = tuple[Tensor, Tensor | None]
"""Weight and bias of one call, through which gradients flow."""


class Called(nn.Module):
    """A product with a weight that follows from parameters.

    Args:
        weight: Shaped as PyTorch's module of that kind has it.
        bias: One value an output channel, or None.

    Attributes:
        function: The function of PyTorch.
    """

    function: ClassVar[Any]

    def __init__(self, weight: Recorded, bias: Recorded | None) -> None:
        super().__init__()
        self.expressions = (weight, bias)

    @property
    def weight(self) -> Tensor:
        """The present weight, without gradients."""
        return self.expressions[0].value()

    @property
    def bias(self) -> Tensor | None:
        """The present bias, without gradients."""
        bias = self.expressions[1]
        return None if bias is None else bias.value()

    def forward(self, input: Tensor, given: Given | None = None) -> Tensor:
        """Multiply.

        Args:
            input: As the function takes it.
            given: Weight and bias if they are at hand, equal to those of the module.
        """
        weight, bias = (self.weight, self.bias) if given is None else given
        y: Tensor = type(self).function(input, weight, bias, **self.options())
        return y

    def options(self) -> dict[str, Any]:
        """The keyword arguments of the function."""
        return {}


class CalledLinear(Called):
    """A call of ``functional.linear``, or a product with a matrix that follows from parameters."""

    function = staticmethod(functional.linear)

    @property
    def in_features(self) -> int:
        """Length of the rows."""
        return int(self.weight.shape[1])


class CalledConvolution(Called):
    """A call of ``functional.conv1d`` to ``conv3d``; the attributes are those of ``nn.Conv2d``."""

    padding_mode = "zeros"

    def __init__(
        self,
        weight: Recorded,
        bias: Recorded | None,
        *,
        stride: tuple[int, ...],
        padding: str | tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
    ) -> None:
        super().__init__(weight, bias)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.kernel_size = tuple(self.weight.shape[2:])

    def options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups")}


class CalledConv1d(CalledConvolution):
    """A call of ``functional.conv1d``."""

    function = staticmethod(functional.conv1d)


class CalledConv2d(CalledConvolution):
    """A call of ``functional.conv2d``."""

    function = staticmethod(functional.conv2d)


class CalledConv3d(CalledConvolution):
    """A call of ``functional.conv3d``."""

    function = staticmethod(functional.conv3d)


class CalledTransposed(CalledConvolution):
    """A call of ``functional.conv_transpose1d`` to ``conv_transpose3d``."""

    def __init__(
        self,
        weight: Recorded,
        bias: Recorded | None,
        *,
        output_padding: tuple[int, ...],
        **options: Any,
    ) -> None:
        super().__init__(weight, bias, **options)
        self.output_padding = output_padding

    def options(self) -> dict[str, Any]:
        return {**super().options(), "output_padding": self.output_padding}


class CalledConvTranspose1d(CalledTransposed):
    """A call of ``functional.conv_transpose1d``."""

    function = staticmethod(functional.conv_transpose1d)


class CalledConvTranspose2d(CalledTransposed):
    """A call of ``functional.conv_transpose2d``."""

    function = staticmethod(functional.conv_transpose2d)


class CalledConvTranspose3d(CalledTransposed):
    """A call of ``functional.conv_transpose3d``."""

    function = staticmethod(functional.conv_transpose3d)

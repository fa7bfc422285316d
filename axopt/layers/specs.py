"""The kinds of layers: what each recognises, how it is built, and what it costs and takes over.

`axopt.prepare` asks this registry only. A package adds a kind with `axopt.register_layer`, or
offers one by an entry point of the group ``axopt.layers``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from axopt.errors import ArgumentError
from axopt.layers.base import EmulatedLayer
from axopt.layers.computed import (
    ComputedConv1d,
    ComputedConv2d,
    ComputedConv3d,
    ComputedConvTranspose1d,
    ComputedConvTranspose2d,
    ComputedConvTranspose3d,
    ComputedLinear,
)
from axopt.layers.conv import EmulatedConv1d, EmulatedConv2d, EmulatedConv3d
from axopt.layers.linear import EmulatedLinear
from axopt.layers.matmul import EmulatedMatMul
from axopt.layers.transposed import (
    EmulatedConvTranspose1d,
    EmulatedConvTranspose2d,
    EmulatedConvTranspose3d,
    transposed_multiplications,
)
from axopt.modules import MatMul
from axopt.modules.called import (
    Called,
    CalledConv1d,
    CalledConv2d,
    CalledConv3d,
    CalledConvTranspose1d,
    CalledConvTranspose2d,
    CalledConvTranspose3d,
    CalledLinear,
    CalledTransposed,
    FoldedNorm,
    scaled,
    shifted,
)
from axopt.multipliers import Multiplier
from axopt.registry import Registry, blamed_on


def observe(layer: EmulatedLayer, on: bool) -> None:
    """Let a layer watch its operands, and compute in float meanwhile, or end that."""
    layer.observing = on


@dataclass(frozen=True)
class LayerSpec:
    """One kind of layer.

    Attributes:
        name: "conv2d", "linear", ...
        modules: Types of modules that become layers of this kind. A subclass may compute something
            else and is not recognised.
        build: ``build(module, multiplier, **options)`` makes the emulated layer; the options are
            those of `EmulatedLayer`.
        macs: ``macs(module, x, y)`` counts the multiplications of a call that got the first
            operand ``x`` and returned ``y``, for all its samples.
        called: What stands for a call of a function of this kind (see `axopt.modules.called`);
            None if there is no such function.
        fold: ``fold(module, scale, mean, shift)`` changes the weights of the float module so that
            a result ``y`` becomes ``scale * (y - mean) + shift``, as a batch norm makes it. All
            three are ``(out_channels,)`` float64. The function returns what takes the place of the
            batch norm. None if the layer cannot.
        takes_relu: Whether the layer can clamp its results, as a ReLU behind it does.
        channels_last: Whether the layer runs faster with a weight that is channels-last in memory,
            as images are then.
        calibrate: ``calibrate(layer, on)`` starts and ends what the layer does in calibration.

    Example:
        >>> from torch import nn
        >>> spec_named("linear").modules == (nn.Linear,)
        True
    """

    name: str
    modules: tuple[type[nn.Module], ...]
    build: Callable[..., EmulatedLayer]
    macs: Callable[[Any, Tensor, Tensor], int]
    called: type[Called] | None = None
    fold: Callable[[Any, Tensor, Tensor, Tensor], nn.Module] | None = None
    takes_relu: bool = True
    channels_last: bool = False
    calibrate: Callable[[EmulatedLayer, bool], None] = observe

    def __post_init__(self) -> None:
        types = self.modules if isinstance(self.modules, tuple) else ()
        if not types or not all(isinstance(t, type) and issubclass(t, nn.Module) for t in types):
            raise ArgumentError(
                f"`modules` of the layer kind {self.name!r} must be a tuple of subclasses of "
                f"nn.Module, got {self.modules!r}."
            )
        for field in ("build", "macs", "calibrate", *["fold"] * (self.fold is not None)):
            if not callable(getattr(self, field)):
                raise ArgumentError(
                    f"`{field}` of the layer kind {self.name!r} must be a function, "
                    f"got {getattr(self, field)!r}."
                )

    def built(self, module: nn.Module, multiplier: Multiplier, **options: Any) -> EmulatedLayer:
        """Return the emulated layer that `build` makes.

        Raises:
            PluginError: If it fails; names the kind.
            ArgumentError: If it makes anything else.
        """
        with blamed_on("layer kind", self.name, "build"):
            layer = self.build(module, multiplier, **options)
        if not isinstance(layer, EmulatedLayer):
            raise ArgumentError(
                f"`build` of the layer kind {self.name!r} must return an EmulatedLayer, "
                f"got {type(layer).__name__}."
            )
        return layer

    def multiplications(self, module: nn.Module, x: Any, y: Any) -> int:
        """Return the multiplications of a call that `macs` counts.

        Raises:
            PluginError: If it fails; names the kind.
            ArgumentError: If it is no integer of at least 0.
        """
        with blamed_on("layer kind", self.name, "macs"):
            count = self.macs(module, x, y)
        if not isinstance(count, int) or count < 0:
            raise ArgumentError(
                f"`macs` of the layer kind {self.name!r} must return an integer of at least 0, "
                f"got {count!r}."
            )
        return count


LAYERS: Registry[LayerSpec] = Registry(
    "layer kind",
    group="axopt.layers",
    built_in=("axopt.layers.specs",),
    argument="name",
    kind=LayerSpec,
)


def register_layer(spec: LayerSpec) -> LayerSpec:
    """Make a kind of layer known to `axopt.prepare`.

    Args:
        spec: What to recognise, and how to build the layer.

    Returns:
        ``spec``.

    Raises:
        ArgumentError: If ``spec`` is no LayerSpec, or another kind has its name.

    Example:
        >>> from torch import nn
        >>> class Dense(nn.Linear):
        ...     pass
        >>> linear = spec_named("linear")
        >>> dense = register_layer(LayerSpec("dense", (Dense,), linear.build, linear.macs))
        >>> specs_by_type()[Dense].name
        'dense'
        >>> LAYERS.remove("dense")
    """
    if not isinstance(spec, LayerSpec):
        raise ArgumentError(f"`spec` must be a LayerSpec, got {type(spec).__name__}.")
    LAYERS.add(spec.name, spec)
    return spec


def spec_named(name: str) -> LayerSpec:
    """Return the kind of that name.

    Raises:
        ArgumentError: If there is none.

    Example:
        >>> spec_named("conv2d").channels_last
        True
    """
    return LAYERS[name]


def specs_by_type() -> dict[type[nn.Module], LayerSpec]:
    """Return the kind of every type of module that becomes a layer.

    Raises:
        ArgumentError: If two kinds recognise the same type.

    Example:
        >>> specs_by_type()[nn.Conv1d].name
        'conv1d'
    """
    found: dict[type[nn.Module], LayerSpec] = {}
    for name in LAYERS.names():
        spec = LAYERS[name]
        for kind in spec.modules if spec.called is None else (*spec.modules, spec.called):
            if kind in found:
                raise ArgumentError(
                    f"`modules` of the layer kind {name!r} must be types that no other kind has, "
                    f"got {kind.__name__} of the kind {found[kind].name!r}."
                )
            found[kind] = spec
    return found


def _macs_of_weights(module: Any, x: Tensor, y: Tensor) -> int:
    """Every result is a sum over the weights of its channel."""
    return y.numel() * int(math.prod(module.weight.shape[1:]))


def _macs_of_transposed(module: Any, x: Tensor, y: Tensor) -> int:
    weight = module.weight
    size = y.shape[2 - weight.ndim :]
    images: int = y.numel() // max(1, weight.shape[1] * module.groups * math.prod(size))
    return images * transposed_multiplications(
        weight.shape, module.stride, module.padding, module.dilation, size
    )


def _macs_of_matmul(module: Any, x: Tensor, y: Tensor) -> int:
    return y.numel() * x.shape[-1]


def _fold(module: Any, scale: Tensor, mean: Tensor, shift: Tensor) -> nn.Module:
    """Weight' = scale weight, bias' = shift + scale (bias - mean), in float64."""
    weight = module.weight.detach()
    transposed = isinstance(module, nn.modules.conv._ConvTransposeNd | CalledTransposed)
    groups = module.groups if transposed else None
    if isinstance(module, Called):
        norm = FoldedNorm(scale, mean, shift, groups, weight.dtype)
        module.fold(norm)
        return norm
    bias = None if module.bias is None else module.bias.detach()
    module.weight = nn.Parameter(scaled(weight, scale, groups))
    module.bias = nn.Parameter(shifted(bias, scale, mean, shift).to(weight.dtype))
    return nn.Identity()


def _of_weights(
    name: str,
    module: type[nn.Module],
    emulated: Callable[..., EmulatedLayer],
    called: type[Called],
    computed: Callable[..., EmulatedLayer],
) -> LayerSpec:
    """A kind with weights that are the module's own, or follow from others."""

    def build(layer: nn.Module, *args: Any, **options: Any) -> EmulatedLayer:
        return (computed if isinstance(layer, Called) else emulated)(layer, *args, **options)

    transposed = name.startswith("conv_transpose")
    return LayerSpec(
        name,
        (module,),
        build,
        _macs_of_transposed if transposed else _macs_of_weights,
        called=called,
        fold=_fold,
        channels_last=name in ("conv2d", "conv_transpose2d"),
    )


for _spec in (
    _of_weights("linear", nn.Linear, EmulatedLinear, CalledLinear, ComputedLinear),
    _of_weights("conv1d", nn.Conv1d, EmulatedConv1d, CalledConv1d, ComputedConv1d),
    _of_weights("conv2d", nn.Conv2d, EmulatedConv2d, CalledConv2d, ComputedConv2d),
    _of_weights("conv3d", nn.Conv3d, EmulatedConv3d, CalledConv3d, ComputedConv3d),
    _of_weights(
        "conv_transpose1d",
        nn.ConvTranspose1d,
        EmulatedConvTranspose1d,
        CalledConvTranspose1d,
        ComputedConvTranspose1d,
    ),
    _of_weights(
        "conv_transpose2d",
        nn.ConvTranspose2d,
        EmulatedConvTranspose2d,
        CalledConvTranspose2d,
        ComputedConvTranspose2d,
    ),
    _of_weights(
        "conv_transpose3d",
        nn.ConvTranspose3d,
        EmulatedConvTranspose3d,
        CalledConvTranspose3d,
        ComputedConvTranspose3d,
    ),
    LayerSpec("matmul", (MatMul,), EmulatedMatMul, _macs_of_matmul),
):
    LAYERS.add(_spec.name, _spec)

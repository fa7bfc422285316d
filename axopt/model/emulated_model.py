"""The emulated model: the original's modules under their names, with products from tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from axopt.errors import ArgumentError, TracingError
from axopt.layers import EmulatedLayer
from axopt.model.adapter import PLAIN, Adapter
from axopt.model.coverage import Coverage

_is_tracing: Callable[[], bool] = getattr(torch.jit, "is_tracing")  # noqa: B009 untyped in torch
_is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", lambda: False)


def _refuse_tracing() -> NoReturn:
    raise TracingError(
        "an emulated model cannot be traced, scripted or exported: TorchScript and ONNX have no "
        "operator for products from a table. Export the original model, and write the multiplier "
        "of each layer with current_assignment(emulated)."
    )


def check_emulated(emulated: object) -> None:
    """Check the argument ``emulated`` of a function.

    Raises:
        ArgumentError: If it was not made by `prepare`.
    """
    if not isinstance(emulated, EmulatedModel):
        raise ArgumentError(
            f"`emulated` must be a model made by axopt.prepare, got {type(emulated).__name__}."
        )


@dataclass(frozen=True)
class LayerInfo:
    """One emulated layer.

    Attributes:
        name: Its name in the original model.
        kind: "conv1d" to "conv3d", "conv_transpose1d" to "conv_transpose3d", "linear" or "matmul".
        macs: Multiplications for one sample.
        multiplier: Key of the multiplier in use, "release/name".
        swap: Whether the weight, or the second of two activations, is its first operand.

    Example:
        >>> from axopt.model import prepare
        >>> [layer] = prepare(nn.Linear(8, 4), torch.rand(16, 8)).layers()
        >>> layer.name, layer.kind, layer.macs
        ('0', 'linear', 32)
    """

    name: str
    kind: str
    macs: int
    multiplier: str
    swap: bool


class EmulatedModel(nn.Module):
    """A model made by `prepare`; calling it emulates the approximate hardware.

    Attributes:
        module: The converted copy of the original; module names are the original's.
        skipped: Name -> reason, of every module with weights that stays in float, and of products
            of functions that no layer emulates ("module: function").
        folded: Name of the layer -> name of the batch norm folded into it.
        fused: Name of the layer -> name of the ReLU that the layer computes itself.
        adapter: How inputs are passed to the model, and which output is used.

    Example:
        >>> from axopt.model import prepare
        >>> emulated = prepare(nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2)), torch.rand(32, 8))
        >>> list(emulated.emulated_layers), emulated(torch.rand(3, 8)).shape
        (['0', '1'], torch.Size([3, 2]))
        >>> emulated.coverage, emulated.left_out
        (1.0, {})
    """

    def __init__(
        self,
        module: nn.Module,
        emulated: Mapping[str, EmulatedLayer],
        coverage: Coverage,
        *,
        skipped: Mapping[str, str],
        folded: Mapping[str, str],
        fused: Mapping[str, str],
        adapter: Adapter = PLAIN,
        paths: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.macs = dict(coverage.emulated)
        self._coverage = coverage
        self.skipped = dict(skipped)
        self.folded = dict(folded)
        self.fused = dict(fused)
        self.adapter = adapter
        self._paths = {name: (paths or {}).get(name, name) for name in emulated}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module.

        Raises:
            TracingError: If ``torch.jit.trace``, ``torch.export`` or an ONNX export calls it.
        """
        if _is_tracing() or _is_exporting():
            _refuse_tracing()
        return self.module(*args, **kwargs)

    def __prepare_scriptable__(self) -> nn.Module:
        """Called by ``torch.jit.script``."""
        _refuse_tracing()

    @property
    def coverage(self) -> float:
        """Emulated share of all multiplications of one sample, 0..1.

        Products of weights and products of two activations count alike.
        """
        return self._coverage.share

    @property
    def left_out(self) -> dict[str, int]:
        """Product that stays in float -> its multiplications of one sample, largest first."""
        return dict(self._coverage.left_out)

    @property
    def emulated_layers(self) -> dict[str, EmulatedLayer]:
        """The emulated layers by name, in the order of execution."""
        found = {}
        for name, path in self._paths.items():
            layer = self.module.get_submodule(path)
            if not isinstance(layer, EmulatedLayer):
                raise TypeError(f"layer {name!r} was replaced by {type(layer).__name__}")
            found[name] = layer
        return found

    def layers(self) -> list[LayerInfo]:
        """Return the emulated layers in the order of execution."""
        return [
            LayerInfo(name, layer.kind, self.macs[name], layer.multiplier.key, layer.swap)
            for name, layer in self.emulated_layers.items()
        ]

    @property
    def options(self) -> dict[str, str]:
        """Name -> padded taps and accumulator, of layers where these are not the defaults."""
        return {
            name: ", ".join(options)
            for name, layer in self.emulated_layers.items()
            if (options := layer.unusual_options())
        }

    @property
    def digest(self) -> str:
        """sha256 over names, shapes, dtypes and bytes of all weights and the layers' options."""
        digest = hashlib.sha256()
        for name, layer in self.emulated_layers.items():
            digest.update(f"{name} {layer.kind} {layer.definition}\n".encode())
        for name, value in self.module.state_dict().items():
            if isinstance(value, Tensor):
                digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
                bytes_of = value.detach().cpu().contiguous().view(-1).view(torch.uint8)
                digest.update(bytes_of.numpy().tobytes())
        return digest.hexdigest()

    @property
    def calibration_digest(self) -> str:
        """sha256 over the data that calibration kept for corrections."""
        digest = hashlib.sha256()
        for name, layer in self.emulated_layers.items():
            digest.update(f"{name}\n".encode())
            for value in layer.observed():
                digest.update(value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def quantisation_digest(self, signed: bool) -> str:
        """Return the sha256 of all layers' quantisation for signed or unsigned multipliers."""
        digest = hashlib.sha256()
        for name, layer in self.emulated_layers.items():
            digest.update(f"{name}\n".encode())
            quantisation = layer.quantisation(signed)
            for params in (quantisation.activation, quantisation.weights):
                digest.update(params.scale.cpu().numpy().tobytes())
                digest.update(params.zero_point.cpu().numpy().tobytes())
        return digest.hexdigest()

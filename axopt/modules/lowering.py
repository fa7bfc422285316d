"""From torch's composite modules to ones whose products are in modules of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from axopt.modules.attention import Attention, without_nested_tensors
from axopt.modules.hooks import keep_hooks
from axopt.modules.recurrent import Recurrent, RecurrentCell

# Subclasses may compute something else: only the types themselves.
LOWERINGS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    nn.LSTM: Recurrent,
    nn.GRU: Recurrent,
    nn.RNN: Recurrent,
    nn.LSTMCell: RecurrentCell,
    nn.GRUCell: RecurrentCell,
    nn.RNNCell: RecurrentCell,
    nn.MultiheadAttention: Attention,
    nn.TransformerEncoder: without_nested_tensors,
}
"""Type -> what makes a module of the same function and the same parameters from it."""


def lower_(module: nn.Module) -> nn.Module:
    """Replace all composite modules inside ``module``, in place; shared ones stay shared.

    Args:
        module: Any module.

    Returns:
        ``module``, or what stands for it if it is a composite itself.
    """
    made: dict[nn.Module, nn.Module] = {}

    def lowered(part: nn.Module) -> nn.Module:
        if type(part) not in LOWERINGS:
            return part
        if part not in made:
            new = LOWERINGS[type(part)](part)
            made[part] = new if new is part else keep_hooks(part, new)
        return made[part]

    module = lowered(module)
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if child is not None:
                setattr(parent, name, lowered(child))
    return module

"""Replace torch's composite modules by modules whose products are submodules."""

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
"""Type of module -> function that makes a module with the same results and parameters."""


def lower_(module: nn.Module) -> nn.Module:
    """Replace all composite modules inside ``module``, in place. Shared modules stay shared.

    Args:
        module: Any module.

    Returns:
        ``module``, or its replacement if it is a composite itself.

    Example:
        >>> model = nn.Sequential(nn.LSTM(3, 4))
        >>> [name for name, _ in lower_(model).named_modules()]
        ['', '0', '0.ih_l0', '0.hh_l0']
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

"""Forward hooks of a module that is replaced."""

from __future__ import annotations

from torch import nn

_HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
)


def has_forward_hooks(module: nn.Module) -> bool:
    """Return whether forward hooks are registered on the module."""
    return bool(module._forward_pre_hooks or module._forward_hooks)


def keep_hooks(old: nn.Module, new: nn.Module) -> nn.Module:
    """Add the forward hooks of ``old`` to ``new`` and return ``new``."""
    for hooks in _HOOKS:
        getattr(new, hooks).update(getattr(old, hooks))
    return new

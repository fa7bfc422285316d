"""Results of layers that assignments with the same first layers have in common.

In a forward pass, the operands of a layer's call follow from the inputs of the model and from the
settings of the layers that were called before. So a call is addressed by a chain of digests: that
of the inputs, then one for each call so far, of the layer's name, multiplier, operand order,
formats and options. No activation is hashed.

This holds if the forward pass is a pure function, which `Memo.check` tests. A model may change a
result in place (``F.relu_(x)``, ``x += y``). PyTorch counts such changes, so a result that was
changed is recognised and computed again. From then on, a copy of that layer's results is kept. A
copy of every result would take 10 % of the time of a forward pass of ResNet-8, and the same again
for its reuse.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from axopt.errors import ArgumentError
from axopt.layers import EmulatedLayer, Quantisation, QuantParams
from axopt.layers.native import version_of
from axopt.model.emulated_model import EmulatedModel, check_emulated

_logger = logging.getLogger(__name__)

DEFAULT_BYTES = 1 << 30
"""Memory for kept results: about six assignments of ResNet-8 on 500 images of 32 x 32."""

_DIGEST_BYTES = 16
_REUSED_SHARE = 0.8
_digests: WeakKeyDictionary[Quantisation, bytes] = WeakKeyDictionary()


@dataclass
class Work:
    """How many results of layers were computed, and how many were reused.

    Attributes:
        computed: Sum over the calls of layers of the number of samples, for calls that were
            computed.
        reused: The same sum for calls whose result was known.

    Example:
        >>> Work(computed=300, reused=100).total
        400
    """

    computed: int = 0
    reused: int = 0

    @property
    def total(self) -> int:
        """Sum over all calls of layers."""
        return self.computed + self.reused


class _Kept(NamedTuple):
    """A result, and the count of in-place changes when it was returned."""

    result: Tensor
    version: int
    n_bytes: int


class Memo:
    """Keeps results of emulated layers for assignments with the same first layers.

    A result that is reused is bit for bit the one that would be computed. Calls with gradients
    are always computed.

    Args:
        emulated: The model. While `reusing` is active, its layers look results up here.
        max_bytes: Memory for results; 0 keeps nothing. Those that were never reused are dropped
            first, then those used least recently. So the results of the first layers stay, though
            a search computes more results between two uses of them than memory holds.

    Attributes:
        work: Counts of all calls so far.
        active: Whether results are kept. It is cleared by `check`.

    Raises:
        ArgumentError: If ``emulated`` was not made by `prepare`, or ``max_bytes`` is below 0.

    Example:
        >>> import axopt
        >>> x = torch.rand(16, 8)
        >>> net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 4))
        >>> emulated = axopt.prepare(net, x)
        >>> memo = Memo(emulated)
        >>> for last in ("mul8s_1L1G", "mul8s_1L2H"):
        ...     axopt.assign_(emulated, {"0": "mul8s_1KV8", "1": last})
        ...     with torch.no_grad(), memo.reusing(), memo.batch(b"x", len(x)):
        ...         _ = emulated(x)
        >>> memo.work
        Work(computed=48, reused=16)
    """

    def __init__(self, emulated: EmulatedModel, max_bytes: int = DEFAULT_BYTES) -> None:
        check_emulated(emulated)
        if type(max_bytes) is not int or max_bytes < 0:
            raise ArgumentError(f"`max_bytes` must be an integer >= 0, got {max_bytes!r}.")
        self.work = Work()
        self.active = max_bytes > 0
        self._emulated = emulated
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._reused: OrderedDict[bytes, _Kept] = OrderedDict()
        self._reused_bytes = 0
        self._changed_in_place: set[str] = set()
        self._state: tuple[object, ...] = ()
        self._settings: dict[str, bytes] = {}
        self._chain: bytes | None = None
        self._is_checked = self._is_reusing = False
        self._samples = 0
        self._thread = 0

    @property
    def n_bytes(self) -> int:
        """Memory of the results that are kept."""
        return self._n_bytes

    def clear(self) -> None:
        """Drop all results."""
        self._kept.clear()
        self._reused.clear()
        self._n_bytes = self._reused_bytes = 0

    @contextlib.contextmanager
    def reusing(self) -> Iterator[None]:
        """Let the layers of the model look their results up.

        Results are dropped if weights or buffers of the model changed since the last time. They
        must stay the same until the end. The assignment may change between batches.
        """
        if self._is_reusing:
            yield
            return
        layers = self._emulated.emulated_layers
        self._check_state(layers)
        replaced = [(vars(layer), self._looking(name, layer)) for name, layer in layers.items()]
        own = [{key: of[key] for key in new if key in of} for of, new in replaced]
        for of, new in replaced:
            of.update(new)
        self._is_reusing = True
        try:
            yield
        finally:
            self._is_reusing = False
            for (of, new), before in zip(replaced, own, strict=True):
                for key in new:
                    del of[key]
                of.update(before)

    @contextlib.contextmanager
    def batch(self, key: bytes, samples: int) -> Iterator[None]:
        """Address the calls of one forward pass, inside `reusing`.

        Args:
            key: A digest of the inputs: equal keys must mean equal inputs.
            samples: Number of samples of the inputs, for `work`.
        """
        self._chain = blake2b(key, digest_size=_DIGEST_BYTES).digest()
        self._samples, self._thread = samples, threading.get_ident()
        self._settings.clear()
        try:
            yield
        finally:
            self._chain = None

    def check(self, call: Callable[[], Any]) -> bool:
        """Test whether the forward pass is a pure function; keep nothing from now on if not.

        The model runs three times with the present assignment: without reuse, with an empty memo
        and with a filled one. All outputs must be equal and no random number may be drawn. Only
        the first call tests.

        Args:
            call: Calls the model with some inputs and returns its outputs.

        Returns:
            `active`.
        """
        if not self.active or self._is_checked:
            return self.active
        self._is_checked = True
        before_check = replace(self.work)
        before = _random_state()
        outputs = [_leaves(call())]
        for _ in range(2):
            with self.reusing(), self.batch(b"check", 1):
                outputs.append(_leaves(call()))
        self.work.computed, self.work.reused = before_check.computed, before_check.reused
        self.clear()
        if _random_state() != before:
            self._stop("its forward pass draws random numbers")
        elif not all(_equal(outputs[0], other) for other in outputs[1:]):
            self._stop("its forward pass gives different outputs for the same inputs")
        return self.active

    def _looking(self, name: str, layer: EmulatedLayer) -> dict[str, Any]:
        """Return the methods of a layer that look results up before they compute."""
        methods: dict[str, Any] = {"forward": partial(self._called, name, layer, layer.forward)}
        resolve = getattr(layer, "resolved", None)
        if resolve is not None:

            def resolved() -> Callable[..., Any] | None:
                rows = resolve()
                return None if rows is None else partial(self._called, name, layer, rows)

            methods["resolved"] = resolved
        return methods

    def _called(
        self,
        name: str,
        layer: EmulatedLayer,
        forward: Callable[..., Any],
        *operands: Any,
        **options: Any,
    ) -> Any:
        """Return the result of a call of a layer: a kept one, or that of ``forward``."""
        chain = self._chain
        if chain is None:
            return forward(*operands, **options)
        if not self.active:
            self.work.computed += self._samples
            return forward(*operands, **options)
        if threading.get_ident() != self._thread:  # the order of calls is not known
            self._stop("its forward pass runs layers in several threads")
            return forward(*operands, **options)
        setting = self._settings.get(name)
        if setting is None:
            setting = self._settings[name] = _setting_of(name, layer)
        self._chain = chain = blake2b(chain + setting, digest_size=_DIGEST_BYTES).digest()
        if layer.observing or torch.is_grad_enabled():
            return forward(*operands, **options)
        found = self._found(name, chain)
        if found is not None:
            self.work.reused += self._samples
            return found
        result = forward(*operands, **options)
        self.work.computed += self._samples
        if isinstance(result, Tensor):
            self._keep(name, chain, result)
        return result

    def _found(self, name: str, key: bytes) -> Tensor | None:
        kept = self._reused.pop(key, None)
        if kept is not None:
            self._reused_bytes -= kept.n_bytes
        else:
            kept = self._kept.pop(key, None)
            if kept is None:
                return None
        if kept.result._version != kept.version:
            self._changed_in_place.add(name)
            self._n_bytes -= kept.n_bytes
            return None
        self._reused[key] = kept
        self._reused_bytes += kept.n_bytes
        while self._reused_bytes > _REUSED_SHARE * self._max_bytes:  # leave room for new ones
            oldest, demoted = self._reused.popitem(last=False)
            self._reused_bytes -= demoted.n_bytes
            self._kept[oldest] = demoted
        return kept.result.clone() if name in self._changed_in_place else kept.result

    def _keep(self, name: str, key: bytes, result: Tensor) -> None:
        n_bytes = result.untyped_storage().nbytes()
        if n_bytes > self._max_bytes:
            return
        if result.is_inference():  # its changes are not counted
            self._changed_in_place.add(name)
        if name in self._changed_in_place:
            with torch.inference_mode(False):
                result = result.clone()
        while self._n_bytes + n_bytes > self._max_bytes:
            if self._kept:
                _, dropped = self._kept.popitem(last=False)
            else:
                _, dropped = self._reused.popitem(last=False)
                self._reused_bytes -= dropped.n_bytes
            self._n_bytes -= dropped.n_bytes
        self._kept[key] = _Kept(result, result._version, n_bytes)
        self._n_bytes += n_bytes

    def _check_state(self, layers: dict[str, EmulatedLayer]) -> None:
        """Drop all results if something besides the assignment has changed."""
        module = self._emulated.module
        tensors = [*module.parameters(), *module.buffers()]
        state: tuple[object, ...] = (
            *((tensor.data_ptr(), version_of(tensor)) for tensor in tensors),
            *(layer.version() for layer in layers.values()),
        )
        n_results = len(self._kept) + len(self._reused)
        if state != self._state and n_results:
            _logger.info("weights or buffers have changed: %d results are dropped", n_results)
            self.clear()
        self._state = state

    def _stop(self, reason: str) -> None:
        self.active = False
        self.clear()
        _logger.warning("results of layers are not reused for this model: %s", reason)


def _setting_of(name: str, layer: EmulatedLayer) -> bytes:
    """Return a digest of everything that an assignment or an option changes in a layer."""
    multiplier = layer.multiplier
    setting = (
        name,
        multiplier.digest,
        multiplier.signed,
        multiplier.strides,
        layer.swap,
        layer.bounds,
        layer.padded_taps,
        layer.accumulator,
    )
    digest = blake2b(repr(setting).encode(), digest_size=_DIGEST_BYTES)
    digest.update(_digest_of(layer.quantisation()))
    return digest.digest()


def _digest_of(formats: Quantisation) -> bytes:
    """Return a digest of formats, which never change; it is kept as long as they are."""
    known = _digests.get(formats)
    if known is None:
        digest = blake2b(digest_size=_DIGEST_BYTES)
        sides: tuple[QuantParams, ...] = (formats.activation, formats.weights)
        values = [v for s in sides for v in (s.scale, s.zero_point, s.code_of_level)]
        for value in (*values, formats.gain, formats.shift):
            if value is None:
                digest.update(b"none")
            else:
                digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
                digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        digest.update(repr([side.stride for side in sides]).encode())
        known = _digests[formats] = digest.digest()
    return known


def _random_state() -> tuple[object, ...]:
    """Return the states of the generators that a model may draw from."""
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002 models may use it
    return (torch.get_rng_state().numpy().tobytes(), random.getstate(), repr(legacy))


def _leaves(outputs: Any) -> list[Tensor]:
    """Return copies of the tensors among some outputs."""
    return [leaf.clone() for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]


def _equal(some: list[Tensor], others: list[Tensor]) -> bool:
    """Return whether tensors are equal bit for bit, except that NaN is NaN."""
    return len(some) == len(others) and all(
        a.shape == b.shape
        and a.dtype == b.dtype
        and bool(((a == b) | ((a != a) & (b != b))).all())
        for a, b in zip(some, others, strict=True)
    )

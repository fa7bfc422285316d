"""Errors of candidate formats on few windows and outputs, to find those that may be the best.

The sums are float32 products of matrices. They need no packed weights, and candidates with the
same formats of an operand share its factors. Gains and shifts are fitted to the same few windows.
So errors are estimates: `Sample.likely` drops only candidates that are clearly worse than another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from axopt.corrections.allowed import Corrections
from axopt.corrections.levels import Levels, WeightCodes
from axopt.corrections.probe import GAINS, Probe
from axopt.kernels import Plan, conv2d_sums
from axopt.kernels.terms import Terms
from axopt.layers import Quantisation, QuantParams

_GOLDEN = (5**0.5 - 1) / 2

_CODES = np.arange(256, dtype=np.uint8)

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]


class Sample:
    """Some windows and outputs of a layer.

    Args:
        probe: The layer on all its windows.
        windows: Number of windows, spread evenly over all.
        outputs: Approximate largest number of outputs, spread evenly over all.
        confidence: Standard errors by which a candidate must be worse than another one to be
            dropped.
    """

    def __init__(self, probe: Probe, windows: int, outputs: int, confidence: float = 3.0) -> None:
        layer = probe.layer
        self._confidence = confidence
        self._probe = probe
        at = _spread(len(layer.sample.windows), windows)
        count = probe.exact.shape[1]
        per_group = count // probe.groups
        groups = _spread(probe.groups, max(1, outputs // per_group))
        inside = _spread(per_group, max(1, outputs // len(groups)))
        of_group = layer.sample.windows[torch.from_numpy(at)][:, torch.from_numpy(groups)]
        self._windows = of_group.transpose(0, 1).contiguous()  # (groups, windows, depth)
        absent = self._windows.isnan()
        self._present = (~absent).float() if bool(absent.any()) else None
        outputs_at = (groups[:, None] * per_group + inside).ravel()
        self._outputs = torch.from_numpy(outputs_at)
        self._shape = (len(groups), len(inside))
        self.share = len(outputs_at) / count
        self._exact = probe.exact.numpy()[at][:, outputs_at].astype(np.float32)
        self._bias = probe.bias.numpy()[outputs_at]
        self._target = self._finished(self._exact)
        self._levels, self._of_weights = Levels(), Levels()

    def likely(
        self, candidates: Sequence[tuple[Plan, Quantisation]], signed: bool, allowed: Corrections
    ) -> list[int]:
        """Return the numbers of the candidates that may have the least error, ascending.

        Args:
            candidates: Products and formats to compare.
            signed: Whether the multiplier is signed.
            allowed: Corrections of the results that may be used.
        """
        errors = self._squared_errors(self._results(candidates, signed), allowed)
        by_window, by_output = errors.sum(2), errors.sum(1)
        mean = by_window.mean(1)
        best = int(mean.argmin())
        n = by_window.shape[1]
        variance = (by_window - by_window[best]).var(1) / n
        if self.share < 1:  # other outputs may differ more
            difference = (by_output - by_output[best]) / n
            variance += difference.var(1) * difference.shape[1] * (1 - self.share)
        limit = self._confidence * np.sqrt(variance)
        found: list[int] = np.flatnonzero(mean - mean[best] <= limit).tolist()
        return found

    def _results(self, candidates: Sequence[tuple[Plan, Quantisation]], signed: bool) -> Floats:
        """Return the results without the bias, ``(candidates, windows, outputs)``."""
        found = np.empty((len(candidates), *self._exact.shape), np.float32)
        for plan in dict.fromkeys(plan for plan, _ in candidates):
            at = [i for i, (other, _) in enumerate(candidates) if other is plan]
            formats = [candidates[i][1] for i in at]
            of_a, a = _numbered([f.activation for f in formats])
            of_w, w = _numbered([f.weights for f in formats])
            origin = 128 if signed else 0
            products = _Products(
                plan, self._activations(a, origin), self._weights(w, origin), self._present
            )
            sums = products.sums(of_a, of_w)
            sums *= (products.a.unit[of_a] * products.w.unit[of_w]).unsqueeze(2)
            found[at] = sums.transpose(1, 2).flatten(2).numpy()
        return found

    def _activations(self, formats: Sequence[QuantParams], origin: int) -> _Operands:
        levels = [self._levels.of(f, lambda p: p.levels(self._windows)) for f in formats]
        zero = torch.stack([f.zero_code for f in formats]).float() - origin
        unit = torch.stack([f.unit for f in formats])
        return _Operands(levels, formats, zero.view(-1, 1, 1), unit.view(-1, 1, 1), origin)

    def _weights(self, formats: Sequence[QuantParams], origin: int) -> _Operands:
        whole = WeightCodes.of(self._probe.layer)
        shape = (len(formats), *self._shape)
        levels = [
            self._of_weights.of(f, lambda p: whole.levels(p)[self._outputs]).view(*self._shape, -1)
            for f in formats
        ]
        size = whole.rows
        zero = torch.stack([f.zero_code.expand(size)[self._outputs] for f in formats])
        unit = torch.stack([f.unit.expand(size)[self._outputs] for f in formats])
        return _Operands(
            levels, formats, zero.float().view(shape) - origin, unit.view(shape), origin
        )

    def _finished(self, y: Floats) -> Floats:
        y = y + self._bias
        bounds = self._probe.layer.bounds
        return y if bounds is None else y.clip(*bounds)

    def _squared_errors(self, y: Floats, allowed: Corrections) -> Floats:
        """Return the squared errors with the best allowed gain and shift, shaped as ``y``."""
        fits = [y]
        if self._probe.layer.has_channels:
            mean, exact_mean = y.mean(1, keepdims=True), self._exact.mean(0)
            centred = y - mean
            if allowed.mean_error:
                fits.append(centred + exact_mean)
            if allowed.gain:
                variance = np.square(centred).sum(1, keepdims=True)
                slope = _ratio(
                    (centred * (self._exact - exact_mean)).sum(1, keepdims=True), variance
                )
                fits.append(centred * slope + exact_mean)
        elif allowed.gain:
            square = np.square(y).sum((1, 2), keepdims=True)
            fits.append(y * _ratio((y * self._exact).sum((1, 2), keepdims=True), square))
        errors = np.stack([np.square(self._finished(fit) - self._target) for fit in fits])
        best = errors.sum((2, 3)).argmin(0)
        chosen: Floats = errors[best, np.arange(len(y))]
        return chosen


class _Operands:
    """One operand in several formats.

    Args:
        levels: For each format ``(groups, n, depth)`` uint8, n windows or outputs.
        formats: The formats.
        zero: Operand values that represent zero, ``(formats, groups or 1, n or 1)``.
        unit: Differences of the values of neighbouring codes, shaped as ``zero``.
        origin: Code of the operand value 0.
    """

    def __init__(
        self,
        levels: Sequence[Tensor],
        formats: Sequence[QuantParams],
        zero: Tensor,
        unit: Tensor,
        origin: int,
    ) -> None:
        self.levels = np.stack([of_format.numpy() for of_format in levels])
        self.codes = np.stack([_codes(params) for params in formats])
        self.formats, self.zero, self.unit = formats, zero, unit
        self.values = np.arange(256, dtype=np.float32) - origin

    def mapped(self, maps: ArrayLike) -> Tensor:
        """Return what maps make of the codes, ``(formats, groups, n, depth, maps)`` float32."""
        table = np.asarray(maps, dtype=np.float32).T[self.codes].reshape(len(self.codes) * 256, -1)
        at = self.levels.astype(np.intp)
        at += (np.arange(len(at)) * 256).reshape(-1, 1, 1, 1)
        return torch.from_numpy(table.take(at, axis=0))


class _Products:
    """Sums of the products of one table less their zero-point sums.

    A product less its zero-point sums is
    ``sum_t F_t(a) G_t(w) + [r(a) - zw a] + [c(w) - za (w - zw)]``. The first bracket is summed for
    each window, the second one for each output.

    Args:
        plan: The products.
        a: The activations.
        w: The weights.
        present: ``(groups, windows, depth)`` float32, 0 where a window lacks a value; None if no
            window does.
    """

    def __init__(self, plan: Plan, a: _Operands, w: _Operands, present: Tensor | None) -> None:
        self.plan, self.a, self.w = plan, a, w
        self._present = present

    def sums(self, of_a: Sequence[int], of_w: Sequence[int]) -> Tensor:
        """Return the sums of pairs of formats, ``(pairs, groups, windows, outputs)``.

        Args:
            of_a: Number of the activations' format for each pair.
            of_w: Number of the weights' format for each pair.
        """
        terms = self.plan.terms
        if terms is None:
            sums = torch.stack([self._looked_up(*pair) for pair in zip(of_a, of_w, strict=True)])
        else:
            sums = self._by_terms(of_a, of_w, terms)
            if terms.activation_scale:
                row = terms.activation_scale * (np.arange(256) & terms.activation_mask)
                sums += self._of_windows(row)[of_a].unsqueeze(3)
        zero_w = self.w.zero[of_w]
        if bool(zero_w.any()):
            sums -= zero_w.unsqueeze(2) * self._of_windows(self.a.values)[of_a].unsqueeze(3)
        column = None if terms is None or not terms.weight_offset.any() else terms.weight_offset
        zero_a = self.a.zero[of_a]
        if column is None and not bool(zero_a.any()):
            return sums
        values = self.w.mapped(self.w.values[None])[..., 0] - self.w.zero[..., None]
        offsets = 0 * values if column is None else self.w.mapped(column[None])[..., 0]
        if self._present is None:
            added = offsets.sum(3)[of_w] - zero_a * values.sum(3)[of_w]
            return sums.add_(added.unsqueeze(2))
        for i, (j, k) in enumerate(zip(of_a, of_w, strict=True)):
            sums[i] += self._present @ (offsets[k] - self.a.zero[j] * values[k]).mT
        return sums

    def _of_windows(self, of_code: ArrayLike) -> Tensor:
        """Return the sums of a value of each code, ``(formats, groups, windows)``."""
        values = self.a.mapped(np.asarray(of_code)[None])[..., 0]
        return (values if self._present is None else values * self._present).sum(3)

    def _by_terms(self, of_a: Sequence[int], of_w: Sequence[int], terms: Terms) -> Tensor:
        factors = self.a.mapped(terms.activation)
        if self._present is not None:
            factors *= self._present[..., None]
        factors = factors.flatten(3)  # (formats, groups, windows, depth * terms)
        weights = self.w.mapped(terms.weight).flatten(3)
        groups, windows = factors.shape[1:3]
        outputs = weights.shape[2]
        sums = torch.empty(len(of_a), groups, windows, outputs)
        for number in set(of_a):
            pairs = [i for i, j in enumerate(of_a) if j == number]
            used = weights[[of_w[i] for i in pairs]].transpose(0, 1).flatten(1, 2)
            found = (factors[number] @ used.mT).view(groups, windows, len(pairs), outputs)
            sums[pairs] = found.permute(2, 0, 1, 3)
        return sums

    def _looked_up(self, of_a: int, of_w: int) -> Tensor:
        """Return the sums of the products as the table has them, for a table without terms."""
        groups, windows, depth = self.a.levels.shape[1:]
        codes = torch.from_numpy(self.a.codes[of_a].take(self.a.levels[of_a]))
        weights = torch.from_numpy(self.w.codes[of_w].take(self.w.levels[of_w]))
        line = codes.transpose(1, 2).reshape(1, -1, 1, windows)
        found = conv2d_sums(line, weights.reshape(-1, depth, 1, 1), self.plan, groups=groups)
        sums = found[0, :, 0].float().reshape(groups, -1, windows).mT.contiguous()
        if self._present is not None:  # the code of zero was multiplied where a value is absent
            level = int(self.a.formats[of_a].zero_point)
            products = self.plan.table[self.a.codes[of_a, level]].astype(np.float32)
            of_zero = torch.from_numpy(products)
            sums -= (1 - self._present) @ of_zero[weights.long()].mT
        return sums


def _numbered(formats: Sequence[QuantParams]) -> tuple[list[int], list[QuantParams]]:
    """Return the number of each format among the distinct ones, and these."""
    distinct = {id(params): params for params in formats}
    number = {key: i for i, key in enumerate(distinct)}
    return [number[id(params)] for params in formats], list(distinct.values())


def _codes(params: QuantParams) -> NDArray[np.uint8]:
    """Return the code of every level, ``(256,)`` uint8."""
    table = params.code_table
    return _CODES if table is None else table.numpy()


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return gains; 1 where nothing varies."""
    usable = denominator > 0
    found: Floats = np.where(usable, numerator / np.where(usable, denominator, 1), 1)
    return found.clip(*GAINS)


def _spread(n: int, most: int) -> Indices:
    """Return at most ``most`` of ``n`` numbers, spread evenly, without a period."""
    if n <= most:
        return np.arange(n)
    place = (np.arange(most) * _GOLDEN) % 1  # in the part of the range that is the number's own
    found: Indices = ((np.arange(most) + place) * n / most).astype(np.intp)
    return found

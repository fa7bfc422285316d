"""Sensitivities from gradients: no assignment is evaluated as a whole.

Let J be the derivative of the network's outputs with respect to the outputs of a layer, and d the
change of the layer's own outputs when its option changes, on the same inputs. The divergence then
is about

    D(base) + <gradient of D, J d> + 1/2 <J d, H J d>

where H is the second derivative of the divergence with respect to the network's outputs. Around
the exact network the gradient is zero. H is never formed: random cotangents v with E[v v^T] = H
are drawn, one backward pass gives J^T v for every layer, and the mean of ``<J^T v, d>^2`` over the
draws estimates the last term. For class probabilities p, v = sqrt(p) r - p <sqrt(p), r> with
random signs r; for squared distances v is proportional to r. Each option needs one call of its
layer.

.. [Dong2020] Dong et al., "HAWQ-V2: Hessian aware trace-weighted quantization of neural networks",
   NeurIPS 2020: random signs for traces of second derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from axopt.data import Split
from axopt.evaluation import OutputPart
from axopt.evaluation.quality import evaluation_mode
from axopt.model import Adapter, EmulatedModel
from axopt.model.adapter import device_of, moved, only_tensor
from axopt.problem import AssignmentProblem, Candidate, LayerSetting
from axopt.sensitivities.bases import Base

DRAWS = 4
"""Number of random cotangents of each sample."""

PASSES = 2 + 2 * (DRAWS + 1)
"""Cost in evaluations beside the calls of layers: the reference, a forward pass, and backward
passes, each of which takes about as long as two forward passes."""

_SEED = 0


@dataclass(frozen=True)
class _Call:
    """A call of a layer.

    Attributes:
        layer: Name of the layer.
        operands: What it was called with.
        options: Keyword arguments.
        result: What it returned.
        leaf: Zeros that were added to the result: their gradient is that of the result.
    """

    layer: str
    operands: tuple[Any, ...]
    options: dict[str, Any]
    result: Tensor
    leaf: Tensor


def estimated_values(
    problem: AssignmentProblem,
    base: Base,
    base_value: float,
    split: Split,
    on_step: Callable[[int, int], object] | None = None,
) -> tuple[tuple[float, ...], ...]:
    """Estimate the divergence of a base with one gene changed, for every option of every gene.

    Args:
        problem: Genes and options.
        base: The base.
        base_value: Its divergence.
        split: The samples.
        on_step: Called with the number of batches done and of all.

    Returns:
        One tuple a gene, with one value an option.
    """
    emulated = problem.emulated
    own = problem.settled(base.options)
    changes = _changes(problem, base)
    references = _References(problem, split)
    sums = [torch.zeros(len(options), dtype=torch.float64) for options in problem.options_of_genes]
    generator = torch.Generator().manual_seed(_SEED)
    first, n_batches = 0, -(-len(split) // problem.batch_size)
    own.apply_(emulated)
    for done, (inputs, _) in enumerate(split.batches(problem.batch_size), start=1):
        n = len(split.targets[first : first + problem.batch_size])
        calls, returned = _run(emulated, inputs)
        outputs = [_values(part, returned) for part in problem.compared]
        cotangents = references.cotangents(outputs, first, generator)
        gradients = _gradients(outputs, cotangents, calls)
        for gene, number, settings in changes:
            terms = _projected(emulated, own, settings, calls, gradients, n)
            sums[gene][number] += terms[0].sum() + 0.5 * terms[1:].square().sum() / DRAWS
        first += n
        if on_step is not None:
            on_step(done, n_batches)
    return tuple(tuple((base_value + s / len(split)).tolist()) for s in sums)


def _changes(
    problem: AssignmentProblem, base: Base
) -> list[tuple[int, int, Mapping[str, LayerSetting]]]:
    """Return gene, option and the settings of the gene's layers, for every change of a base."""
    found: list[tuple[int, int, Mapping[str, LayerSetting]]] = []
    for gene, (layers, options) in enumerate(
        zip(problem.genes.values(), problem.options_of_genes, strict=True)
    ):
        for number, option in enumerate(options):
            if option == base.options[gene]:
                continue
            changed = (*base.options[:gene], option, *base.options[gene + 1 :])
            settled = problem.settled(changed).layers
            found.append((gene, number, {name: settled[name] for name in layers}))
    return found


class _References:
    """Outputs of the exact network, and the cotangents that follow from them.

    Args:
        problem: Its exact assignment is applied.
        split: The samples.
    """

    def __init__(self, problem: AssignmentProblem, split: Split) -> None:
        self._parts = problem.compared
        emulated = problem.emulated
        device = device_of(emulated)
        problem.exact(treated=True).apply_(emulated)
        batches: list[list[Tensor]] = []
        with evaluation_mode(emulated), torch.no_grad():
            for inputs, _ in split.batches(problem.batch_size):
                outputs = emulated.adapter.call(emulated, moved(inputs, device))
                batches.append([_values(part, outputs) for part in self._parts])
        self._outputs = [torch.cat(of_part) for of_part in zip(*batches, strict=True)]
        self._squares = [float(o.double().square().sum(1).mean()) or 1.0 for o in self._outputs]

    def cotangents(
        self, outputs: Sequence[Tensor], first: int, generator: torch.Generator
    ) -> list[list[Tensor]]:
        """Return the gradient of the divergence, then random cotangents; a tensor a part each.

        Args:
            outputs: Outputs of the base for a batch, ``(n, D)`` a part.
            first: Number of the first sample.
            generator: Draws random signs.
        """
        found: list[list[Tensor]] = [[] for _ in range(DRAWS + 1)]
        for part, ours, theirs, square in zip(
            self._parts, outputs, self._outputs, self._squares, strict=True
        ):
            own = ours.detach()
            exact = theirs[first : first + len(own)]
            p = own.softmax(1)
            slope = p - exact.softmax(1) if part.logits else 2 / square * (own - exact)
            found[0].append(part.weight * slope)
            for draw in found[1:]:
                signs = torch.randint(0, 2, own.shape, generator=generator).to(own) * 2 - 1
                if part.logits:
                    root = p.sqrt()
                    v = root * signs - p * (root * signs).sum(1, keepdim=True)
                else:
                    v = (2 / square) ** 0.5 * signs
                draw.append(part.weight**0.5 * v)
        return found


def _values(part: OutputPart, outputs: Any) -> Tensor:
    """Return one output of the model, ``(n, D)``, with its graph."""
    return only_tensor(Adapter(output=part.path).pick(outputs)).flatten(1)


def _run(emulated: EmulatedModel, inputs: Any) -> tuple[list[_Call], Any]:
    """Run the model with gradients; return the calls of its layers, and all that it returned."""
    calls: list[_Call] = []
    with evaluation_mode(emulated), torch.enable_grad(), _recorded(emulated, calls):
        outputs = emulated.adapter.call(emulated, moved(inputs, device_of(emulated)))
    return calls, outputs


@contextmanager
def _recorded(emulated: EmulatedModel, calls: list[_Call]) -> Iterator[None]:
    """Record the calls of all layers."""

    def recording(name: str) -> Callable[..., Tensor]:
        def record(
            _: Any, operands: tuple[Any, ...], options: dict[str, Any], result: Tensor
        ) -> Tensor:
            leaf = torch.zeros_like(result, requires_grad=True)
            calls.append(_Call(name, _detached(operands), options, result.detach(), leaf))
            return result + leaf

        return record

    handles = [
        layer.register_forward_hook(recording(name), with_kwargs=True)
        for name, layer in emulated.emulated_layers.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _detached(operands: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(o.detach() if isinstance(o, Tensor) else o for o in operands)


def _gradients(
    outputs: Sequence[Tensor], cotangents: Sequence[Sequence[Tensor]], calls: Sequence[_Call]
) -> list[list[Tensor | None]]:
    """Return the gradients of the calls' results for each cotangent; None where there is none."""
    leaves = [call.leaf for call in calls]
    found: list[list[Tensor | None]] = []
    for place, cotangent in enumerate(cotangents):
        grads = torch.autograd.grad(
            list(outputs),
            leaves,
            list(cotangent),
            retain_graph=place + 1 < len(cotangents),
            allow_unused=True,
        )
        found.append(list(grads))
    return found


@torch.no_grad()
def _projected(
    emulated: EmulatedModel,
    base: Candidate,
    settings: Mapping[str, LayerSetting],
    calls: Sequence[_Call],
    gradients: Sequence[Sequence[Tensor | None]],
    n: int,
) -> Tensor:
    """Return the products of gradients and changes of results, ``(cotangents, n or 1)`` float64.

    Calls whose first dimension is not that of the samples are summed over all samples: signs of
    different samples are independent, so the mean square is the same.
    """
    layers = emulated.emulated_layers
    with _assigned(emulated, base, settings):
        changes = [
            (place, layers[call.layer](*call.operands, **call.options) - call.result)
            for place, call in enumerate(calls)
            if call.layer in settings
        ]
    by_sample = all(len(change) == n for _, change in changes)
    totals = torch.zeros(len(gradients), n if by_sample else 1, dtype=torch.float64)
    for place, change in changes:
        for total, of_calls in zip(totals, gradients, strict=True):
            gradient = of_calls[place]
            if gradient is not None:
                products = (gradient * change).double()
                total += (products.flatten(1).sum(1) if by_sample else products.sum()).cpu()
    return totals


@contextmanager
def _assigned(
    emulated: EmulatedModel, base: Candidate, settings: Mapping[str, LayerSetting]
) -> Iterator[None]:
    """Give layers other settings than those of the base, and restore these."""
    Candidate(settings).apply_(emulated)
    try:
        yield
    finally:
        Candidate({name: base.layers[name] for name in settings}).apply_(emulated)

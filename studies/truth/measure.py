r"""Measure all 65,536 assignments of 4 multipliers to the 8 layers of ResNet-8.

    python -m studies.truth.measure --data imagefolder:PATH/cifar10-jpeg.zip

Run it from the repository root. Assignments are visited as a tree: level k holds the activations
behind layer k for one choice of the first k multipliers, so the last layer runs 65,536 times and
the first one 4 times. The emulated layers of the prepared network do the work. A chunk holds the
assignments that share their first three multipliers; an interrupted run continues with the chunks
that are missing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import axopt
from axopt.exploration import Genes
from axopt.model import EmulatedModel
from axopt.problem import AssignmentProblem, options_of
from axopt.zoo.resnet import BasicBlock, CifarResNet

MODEL = "resnet8"
MULTIPLIERS = ("mul8s_1KV8", "mul8s_1L2D", "mul8s_1L1G", "mul8s_1KR3")
"""By falling power; the first is exact."""
CALIBRATION_SAMPLES = 512
VALIDATION_SAMPLES = 500
FEW = 128
"""The first samples, on which sensitivities are measured."""
CHUNK_LAYERS = 3
CHECKED = 50
"""Random assignments that are compared with plain evaluations."""

State = tuple[Tensor, ...]
"""Activations that later layers read: the result of a layer, and a shortcut if one is open."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="reader and path, as for axopt search")
    parser.add_argument("--chunks", type=Path, default=Path("runs/truth"))
    parser.add_argument("--out", type=Path, default=Path("studies/truth/results") / f"{MODEL}.npz")
    args = parser.parse_args()
    data = axopt.load_data(args.data)
    samples = data.train.take(CALIBRATION_SAMPLES).batches(64)
    emulated = axopt.prepare(axopt.create_model(MODEL), samples)
    validation = data.validation.take(VALIDATION_SAMPLES)
    problem = AssignmentProblem(emulated, validation, options_of(MULTIPLIERS, False))
    inputs, labels = next(iter(validation.batches(VALIDATION_SAMPLES)))
    tree = Tree(emulated, problem, inputs, labels)
    args.chunks.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        tree.measure(args.chunks)
        differing = tree.count_differing(args.chunks)
    print(f"{differing} of {CHECKED} random assignments differ from a plain evaluation")
    if differing:
        raise SystemExit(1)
    save(args.out, args.chunks, problem, args.data)


@dataclass
class Measured:
    """What one assignment's logits give.

    Attributes:
        kl: Mean KL divergence of the softmax outputs from those of the exact network, in nats.
        kl_few: The same on the first `FEW` samples.
        correct: Number of samples whose largest logit is that of the label.
    """

    kl: float
    kl_few: float
    correct: int


class Tree:
    """Evaluates assignments by their common prefixes.

    Args:
        emulated: The network, calibrated.
        problem: Its options and their corrections.
        inputs: ``(n, 3, 32, 32)`` float32.
        labels: ``(n,)`` int64.
    """

    def __init__(
        self, emulated: EmulatedModel, problem: AssignmentProblem, inputs: Tensor, labels: Tensor
    ) -> None:
        self.emulated, self.problem = emulated, problem
        self.inputs, self.labels = inputs, labels
        network = emulated.module
        assert isinstance(network, CifarResNet)
        self.steps = steps_of(network)
        self.layers = list(emulated.emulated_layers.values())
        uniform = [problem.candidate(genes) for genes in problem.uniform()]
        self.settings = [
            [candidate.layers[name] for candidate in uniform] for name in emulated.emulated_layers
        ]
        with torch.inference_mode():
            self.apply((0,) * len(self.layers))
            exact = torch.log_softmax(self.emulated(inputs).double(), 1)
        self.exact_logs, self.exact_shares = exact, exact.exp()

    def _set(self, layer: int, option: int) -> None:
        setting = self.settings[layer][option]
        self.layers[layer].assign(setting.multiplier, swap=setting.swap)
        self.layers[layer].correction = setting.correction

    def apply(self, genes: Genes) -> None:
        """Give every layer its multiplier and correction."""
        for layer, option in enumerate(genes):
            self._set(layer, option)

    def measured(self, logits: Tensor) -> Measured:
        """Compare logits ``(n, classes)`` with those of the exact network and with the labels."""
        logs = torch.log_softmax(logits.double(), 1)
        divergences = (self.exact_shares * (self.exact_logs - logs)).sum(1)
        correct = int((logits.argmax(1) == self.labels).sum())
        return Measured(float(divergences.mean()), float(divergences[:FEW].mean()), correct)

    def measure(self, folder: Path) -> None:
        """Measure all chunks that are not in the folder."""
        for prefix, state in self._states((), (self.inputs,), CHUNK_LAYERS, folder):
            start = time.perf_counter()
            rows = [
                self.measured(logits)
                for _, (logits,) in self._states(prefix, state, len(self.layers))
            ]
            seconds = time.perf_counter() - start
            shape = (len(MULTIPLIERS),) * (len(self.layers) - CHUNK_LAYERS)
            file = chunk_file(folder, prefix)
            partial = file.with_suffix(".partial.npz")
            np.savez(
                partial,
                kl=np.array([row.kl for row in rows]).reshape(shape),
                kl_few=np.array([row.kl_few for row in rows]).reshape(shape),
                correct=np.array([row.correct for row in rows], np.uint16).reshape(shape),
                seconds=seconds,
            )
            partial.replace(file)
            print(f"{prefix}: {len(rows)} assignments in {seconds:.1f} s", flush=True)

    def _states(
        self, prefix: Genes, state: State, depth: int, done: Path | None = None
    ) -> Iterator[tuple[Genes, State]]:
        """Yield all assignments of the first ``depth`` layers that begin with a prefix.

        Args:
            prefix: Options of the first layers.
            state: The activations behind them.
            depth: Number of layers.
            done: Folder with chunks; assignments of complete chunks are left out.
        """
        if len(prefix) == depth:
            yield prefix, state
            return
        layer = len(prefix)
        for option in range(len(MULTIPLIERS)):
            genes = (*prefix, option)
            if done is not None and _is_complete(done, genes):
                continue
            self._set(layer, option)
            yield from self._states(genes, self.steps[layer](state), depth, done)

    def count_differing(self, folder: Path) -> int:
        """Return how many of `CHECKED` random assignments a plain evaluation does not confirm."""
        rng = np.random.default_rng(0)
        differing = 0
        for genes in rng.integers(0, len(MULTIPLIERS), (CHECKED, len(self.layers))).tolist():
            self.apply(genes)
            plain = self.measured(torch.cat([self.emulated(x) for x in self.inputs.split(100)]))
            with np.load(chunk_file(folder, genes[:CHUNK_LAYERS])) as chunk:
                at = tuple(genes[CHUNK_LAYERS:])
                found = Measured(
                    float(chunk["kl"][at]), float(chunk["kl_few"][at]), int(chunk["correct"][at])
                )
            differing += found != plain
        return differing


def steps_of(network: CifarResNet) -> list[Callable[[State], State]]:
    """Return one function a layer: activations before it -> activations behind it.

    Args:
        network: A `CifarResNet`; its forward pass is the composition of these functions.
    """

    def first(state: State) -> State:
        (x,) = state
        return (network.relu(network.bn1(network.conv1(network.normalize(x)))),)

    def last(state: State) -> State:
        (x,) = state
        return (network.fc(x),)

    def before_last(state: State) -> State:
        (x,) = steps[-1](state)
        return (torch.flatten(network.pool(x), 1),)

    def halves(block: BasicBlock) -> Sequence[Callable[[State], State]]:
        def opening(state: State) -> State:
            (x,) = state
            return (block.relu1(block.bn1(block.conv1(x))), x)

        def closing(state: State) -> State:
            y, x = state
            return (block.relu2(block.bn2(block.conv2(y)) + block.shortcut(x)),)

        return opening, closing

    blocks = [*network.layer1, *network.layer2, *network.layer3]
    steps = [first, *(half for block in blocks for half in halves(block))]
    return [*steps[:-1], before_last, last]


def chunk_file(folder: Path, prefix: Sequence[int]) -> Path:
    """Return the file of the assignments that begin with a prefix."""
    return folder / f"chunk-{''.join(map(str, prefix))}.npz"


def _is_complete(folder: Path, prefix: Genes) -> bool:
    rest = itertools.product(range(len(MULTIPLIERS)), repeat=CHUNK_LAYERS - len(prefix))
    return len(prefix) <= CHUNK_LAYERS and all(
        chunk_file(folder, (*prefix, *genes)).exists() for genes in rest
    )


def save(out: Path, folder: Path, problem: AssignmentProblem, data: str) -> None:
    """Write all chunks as arrays that the genes index, with powers, names and settings."""
    prefixes = list(itertools.product(range(len(MULTIPLIERS)), repeat=CHUNK_LAYERS))
    chunks = [np.load(chunk_file(folder, prefix)) for prefix in prefixes]
    shape = (len(MULTIPLIERS),) * len(problem.space.names)

    def joined(name: str, dtype: type) -> np.ndarray:
        return np.stack([chunk[name] for chunk in chunks]).reshape(shape).astype(dtype)

    settings = {
        "model": MODEL,
        "data": data.rsplit("/", 1)[-1],
        "calibration samples": CALIBRATION_SAMPLES,
        "validation samples": VALIDATION_SAMPLES,
        "few": FEW,
        "layers": list(problem.space.names),
        "multipliers": [option.multiplier.key for option in problem.options],
        "digests": [option.multiplier.digest for option in problem.options],
        "power_mw": [option.multiplier.power_mw for option in problem.options],
        "macs": [info.macs for info in problem.emulated.layers()],
        "identity": problem.identity(),
        "seconds": round(sum(float(chunk["seconds"]) for chunk in chunks)),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        out,
        kl500=joined("kl", np.float32),
        kl128=joined("kl_few", np.float32),
        correct=joined("correct", np.uint16),
        rel_power=np.array(problem.space.additive[0].values),
        settings=np.array(json.dumps(settings)),
    )


if __name__ == "__main__":
    main()

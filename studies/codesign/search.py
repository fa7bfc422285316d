r"""Search the assignments of a CIFAR-10 network over EvoApprox and generated multipliers.

    python -m studies.codesign.search resnet20 --data imagefolder:PATH/cifar10.zip

Run it from the repository root. Candidates are compared by the distance of their outputs to those
of the exact 8-bit network on validation images, without labels. The front is measured on the whole
test split, with paired intervals. An interrupted run continues: sensitivities and measured points
are kept in the folder of the run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import axopt
from axopt.data import Split
from axopt.evaluation import against, measure, paired_drop
from axopt.exploration import Genes, non_dominated
from axopt.model import EmulatedModel
from axopt.multipliers import MultiplierLibrary
from axopt.study import AssignmentProblem, Option, options_of
from studies.codesign.additive import AdditiveModel, proposals, thinned

CALIBRATION_SAMPLES = 512


def main() -> None:
    args = _arguments()
    folder = args.out or Path("runs/codesign") / args.model
    folder.mkdir(parents=True, exist_ok=True)
    data = axopt.load_data(args.data)
    emulated = axopt.prepare(
        axopt.create_model(args.model), data.train.take(CALIBRATION_SAMPLES).batches(64)
    )
    options = options_of(library_of(args.library, signed=not args.unsigned), False)
    validation = data.validation.take(args.validation_samples)
    few = args.sensitivity_samples
    search = Search(emulated, validation, few, options, folder, args.distinct)
    search.run(args.rounds, args.corner)
    front = search.front(args.points, args.corner)
    measure_front(search, front, data.test, folder)


def library_of(directories: Sequence[str], *, signed: bool) -> MultiplierLibrary:
    """Return the multipliers of several folders; "" for the bundled ones of release v1.

    Of multipliers with the same name and table, the first is taken.
    """
    found = {}
    for directory in directories:
        library = axopt.load_library(directory or None)
        for multiplier in library.select(
            signed=signed, release=None if directory else "v1"
        ).values():
            found.setdefault((multiplier.name, multiplier.digest), multiplier)
    return MultiplierLibrary(found.values())


class Search:
    """One search: its problem, its model and what was measured, in a folder.

    Args:
        emulated: The network, calibrated.
        split: Validation samples.
        few: How many of them sensitivities are measured on.
        options: What a layer may get.
        folder: Folder of the run.
        distinct: Most distinct multipliers of an assignment; None for any number.
    """

    def __init__(
        self,
        emulated: EmulatedModel,
        split: Split,
        few: int,
        options: Sequence[Option],
        folder: Path,
        distinct: int | None,
    ) -> None:
        self.emulated, self.folder = emulated, folder
        labels = AssignmentProblem(emulated, split, options)
        labels.exact(treated=True).apply_(emulated)
        self.labelled = against(emulated, split)
        self.problem = self._problem(self.labelled, options)
        self.few = self._problem(self.labelled.take(few), options)
        self.exact_gene = next(g for g, o in enumerate(options) if o.multiplier.is_exact)
        power = np.array(self.problem.space.additive[0].values)
        self.model = AdditiveModel(
            self._sensitivities(), power, self.exact_gene, distinct or len(options)
        )
        self.measured: dict[Genes, float] = {}
        log = folder / "measured.jsonl"
        if log.exists():
            for line in log.read_text().splitlines():
                row = json.loads(line)
                self.measured[tuple(row["genes"])] = row["squared"]

    def _problem(self, split: Split, options: Sequence[Option]) -> AssignmentProblem:
        return AssignmentProblem(self.emulated, split, options, metric="distance")

    def _sensitivities(self) -> np.ndarray:
        """Return the squared distance of each option in each layer, the others exact."""
        file = self.folder / "sensitivities.csv"
        names = [option.multiplier.key for option in self.problem.options]
        if file.exists():
            table = pd.read_csv(file, index_col=0)
            if list(table.columns) != names:
                raise SystemExit(f"{self.folder} holds a search of other multipliers")
            return table.to_numpy()
        layers = self.problem.space.names
        found = np.zeros((len(layers), len(names)))
        for layer, option in np.ndindex(*found.shape):
            if option != self.exact_gene:
                genes = [self.exact_gene] * len(layers)
                genes[layer] = option
                found[layer, option] = self._squared(self.few, tuple(genes))
        pd.DataFrame(found, list(layers), names).to_csv(file)
        return found

    @staticmethod
    def _squared(problem: AssignmentProblem, genes: Genes) -> float:
        return (problem.evaluate(genes).objectives[0] / 100) ** 2

    def _measure(self, genes: Genes) -> None:
        squared = self._squared(self.problem, genes)
        predicted, power = self.model.predicted([genes])[0]
        print(f"{power:.4f} {squared**0.5:.4f} predicted {predicted**0.5:.4f}", flush=True)
        self.measured[genes] = squared
        with (self.folder / "measured.jsonl").open("a") as file:
            file.write(json.dumps({"genes": genes, "squared": squared}) + "\n")

    def run(self, rounds: int, corner: tuple[float, float], batch: int = 10) -> None:
        """Measure 20 points of the model's front, then rounds of ``batch`` proposals."""
        rng = np.random.default_rng(0)
        if not self.measured:
            inside = [g for g in self.model.front() if self._is_inside(g, corner)]
            for genes in thinned(inside, 20):
                self._measure(genes)
        while len(self.measured) < 20 + rounds * batch:
            self.model.refit(list(self.measured), np.array(list(self.measured.values())))
            for genes in proposals(self.model, self.measured, batch, corner, rng):
                self._measure(genes)

    def _is_inside(self, genes: Genes, corner: tuple[float, float]) -> bool:
        squared, power = self.model.predicted([genes])[0]
        return bool(squared**0.5 <= corner[0] and power <= corner[1])

    def front(self, count: int, corner: tuple[float, float]) -> list[Genes]:
        """Return the measured points of the front inside the corner, by rising power."""
        points = list(self.measured)
        power = self.model.predicted(points)[:, 1]
        distance = np.sqrt(list(self.measured.values()))
        kept = non_dominated(np.stack([distance, power], 1))
        kept &= (distance <= corner[0]) & (power <= corner[1])
        order = sorted(np.flatnonzero(kept), key=lambda i: power[i])
        return thinned([points[i] for i in order], count)


def measure_front(search: Search, front: list[Genes], test: Split, folder: Path) -> None:
    """Measure points on test; write ``front.csv`` and an assignment each.

    Points that an interrupted run measured are not measured again.
    """
    file = folder / "front.csv"
    known = pd.read_csv(file).to_dict("records") if file.exists() else []
    problem = search.problem
    problem.exact(treated=True).apply_(search.emulated)
    exact, baseline = measure(search.emulated, test)
    rows: list[dict[Hashable, Any]] = []
    for number, genes in enumerate(front):
        power = search.model.predicted([genes])[0, 1]
        if number < len(known) and abs(known[number]["rel_power"] - power) < 1e-9:
            rows.append(known[number])
            continue
        candidate = problem.candidate(genes)
        candidate.apply_(search.emulated)
        quality, samples = measure(search.emulated, test)
        drop = paired_drop("top1", samples, baseline)
        cost = axopt.cost(search.emulated, reference=problem.reference)
        low, high = cost.intervals.get("rel_power", (cost.rel_power, cost.rel_power))
        name = f"point-{number:02}.json"
        assignment = candidate.assignment(search.emulated, metrics={"top1": quality.value})
        assignment.save(folder / name)
        rows.append(
            {
                "rel_power": cost.rel_power,
                "rel_power_low": low,
                "rel_power_high": high,
                "saved_pct": 100 * (1 - cost.rel_power),
                "top1_pct": quality.value,
                "drop_pp": drop.value,
                "drop_low": drop.low,
                "drop_high": drop.high,
                "distinct": len({s.multiplier.digest for s in candidate.layers.values()}),
                "assignment": name,
            }
        )
        print(rows[-1], flush=True)
        pd.DataFrame(rows).to_csv(file, index=False)
    print(f"exact, corrected: {exact.value:.2f} %")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", required=True, help="reader and path, as for axopt search")
    parser.add_argument(
        "--library", action="append", help="folder of multipliers; '' for the bundled signed ones"
    )
    parser.add_argument("--unsigned", action="store_true", help="unsigned multipliers only")
    parser.add_argument("--distinct", type=int, help="most distinct multipliers of an assignment")
    parser.add_argument("--validation-samples", type=int, default=1000)
    parser.add_argument("--sensitivity-samples", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=10, help="rounds of 10 evaluations")
    parser.add_argument(
        "--corner", type=float, nargs=2, default=(0.4, 0.6), help="worst distance and power"
    )
    parser.add_argument("--points", type=int, default=25, help="points measured on test")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.library = args.library or [""]
    args.corner = tuple(args.corner)
    return args


if __name__ == "__main__":
    main()

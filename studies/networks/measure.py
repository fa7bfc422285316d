r"""One multiplier in every layer of a network of the zoo: raw, corrected, retrained.

    python -m studies.networks.measure vgg_small --data imagefolder:PATH/cifar10-jpeg.zip

Run it from the repository root. It writes one line of JSON per multiplier and skips multipliers
that are in the results already, so an interrupted run can be continued.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import axopt
from axopt import zoo
from axopt.data import Augmentation, Dataset
from axopt.evaluation import METRICS, Evaluation, learnt_data, measured_data
from axopt.layers import Gradient
from axopt.multipliers import Multiplier, load_library

CALIBRATION_SAMPLES = 512


@dataclass(frozen=True)
class Task:
    """A network, its data and its metric.

    Attributes:
        model: Trained float network.
        metric: Name of its metric.
        calibration: Batches of training inputs.
        measured: Samples with the targets of the metric.
        learnt: Samples with the targets of retraining.
    """

    model: nn.Module
    metric: str
    calibration: list[torch.Tensor]
    measured: Dataset
    learnt: Dataset

    @classmethod
    def of(cls, name: str, spec: str) -> "Task":
        """Return the task of a network of the zoo on its data."""
        model, data = axopt.create_model(name), axopt.load_data(spec)
        metric = zoo.task_metric(name)
        batches = data.train.take(min(CALIBRATION_SAMPLES, len(data.train))).batches(64)
        return cls(
            model,
            metric,
            [inputs for inputs, _ in batches],
            measured_data(metric, model, data),
            learnt_data(metric, model, data),
        )

    def quality(self, model: nn.Module, samples: int) -> Evaluation:
        """Evaluate on the first ``samples`` of test."""
        return axopt.evaluate(model, self.measured.test.take(samples), self.metric)


def main() -> None:
    args = _arguments()
    task = Task.of(args.model, args.data)
    test = min(args.test_samples, len(task.measured.test))
    known = _known(args.out)
    if (args.model, "float") not in known:
        row = {"float": task.quality(task.model, test).value}
        _append(args.out, {"model": args.model, "multiplier": "float", "n": test, **row})
    for multiplier in load_library().select(signed=True, release="v1").values():
        if (args.model, multiplier.name) not in known:
            row = {"model": args.model, "metric": task.metric, "multiplier": multiplier.name}
            _append(args.out, {**row, "n": test, **measured(args, task, multiplier, test)})


def measured(
    args: argparse.Namespace, task: Task, multiplier: Multiplier, test: int
) -> dict[str, object]:
    """Return the quality raw, corrected and retrained, with the intervals."""
    start = time.perf_counter()
    emulated = axopt.prepare(task.model, task.calibration)  # a new one: retraining changes weights
    found = {}
    for stage, correct in (("raw", False), ("corrected", True)):
        axopt.assign_(emulated, multiplier, correct=correct)
        found[stage] = task.quality(emulated, test)
    if args.epochs:
        images = task.calibration[0].ndim == 4 and METRICS[task.metric].logits
        axopt.retrain(
            emulated,
            task.learnt.train.take(min(args.train_samples, len(task.learnt.train))),
            validation=task.measured.validation.take(
                min(args.validation_samples, len(task.measured.validation))
            ),
            metric=task.metric,
            augment=Augmentation(mirror=True) if images else None,
            teacher=task.model if METRICS[task.metric].logits else None,
            epochs=args.epochs,
            lr=args.lr,
            gradient=Gradient("ste", dtype=torch.bfloat16 if args.bfloat16 else torch.float32),
        )
        found["retrained"] = task.quality(emulated, test)
    seconds = round(time.perf_counter() - start)
    values = {name: [q.value, q.low, q.high] for name, q in found.items()}
    print(multiplier.name, {name: round(q.value, 2) for name, q in found.items()}, flush=True)
    return {**values, "epochs": args.epochs, "train_samples": args.train_samples, "s": seconds}


def _known(path: Path) -> set[tuple[str, str]]:
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines]
    return {(row["model"], row["multiplier"]) for row in rows}


def _append(path: Path, row: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", required=True, help="reader and path, as for axopt search")
    parser.add_argument("--test-samples", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=1, help="of retraining; 0 for none")
    parser.add_argument("--train-samples", type=int, default=12_000, help="of an epoch")
    parser.add_argument(
        "--validation-samples", type=int, default=10_000, help="that choose the best state"
    )
    parser.add_argument("--lr", type=float, default=3e-4, help="peak learning rate")
    parser.add_argument("--bfloat16", action="store_true", help="backward pass in bfloat16")
    parser.add_argument("--out", type=Path, default=Path("studies/networks/results/uniform.jsonl"))
    return parser.parse_args()


if __name__ == "__main__":
    main()

r"""Retrain points of a search of this study and measure them on test.

    python -m studies.codesign.retrain runs/codesign/resnet20 --points 3 --epochs 8 \
        --data imagefolder:PATH/cifar10.zip --library "" --library runs/codesign/library

Run it from the repository root. A point keeps its multipliers and operand orders; weights, formats
and scales are trained with the float network as teacher, on crops and mirrored images. The state
with the best validation accuracy is measured on the whole test split, with paired intervals
against the exact multiplier in all layers, corrected and not retrained. With ``--exact`` the exact
network is retrained in the same way, for comparison. An interrupted retraining continues from its
last epoch.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor

import axopt
from axopt.data import Augmentation, Dataset, Split
from axopt.evaluation import measure, paired_drop
from axopt.layers import Gradient
from axopt.model import Assignment, EmulatedModel
from axopt.multipliers import MultiplierLibrary
from axopt.retraining import save_retrained
from axopt.study import AssignmentProblem, options_of
from studies.codesign.search import CALIBRATION_SAMPLES, library_of

EXACT = "exact"


def main() -> None:
    args = _arguments()
    data = axopt.load_data(args.data)
    library = library_of(args.library, signed=True)
    points = [EXACT] if args.exact else [f"point-{number:02}" for number in args.points]
    for point in points:
        folder = args.run / f"retrained-{point}"
        row = retrained(args, data, library, point, folder)
        with (args.run / "retrained.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


def retrained(
    args: argparse.Namespace, data: Dataset, library: MultiplierLibrary, point: str, folder: Path
) -> dict[str, object]:
    """Retrain one point; return its figures on test before and after."""
    start = time.perf_counter()
    model = args.model or args.run.name
    emulated = axopt.prepare(
        axopt.create_model(model), data.train.take(CALIBRATION_SAMPLES).batches(64)
    )
    problem = AssignmentProblem(emulated, data.validation.take(64), options_of(library, False))
    baseline = _exact(problem, emulated, data.test)
    if point != EXACT:
        axopt.assign_(emulated, Assignment.load(args.run / f"{point}.json"), library=library)
    before, _ = measure(emulated, data.test)
    cost = axopt.cost(emulated, reference=problem.reference)
    folder.mkdir(exist_ok=True)
    checkpoint = folder / "checkpoint.pt"
    result = axopt.retrain(
        emulated,
        data.train.take(args.train_samples) if args.train_samples else data.train,
        validation=data.validation,
        teacher=axopt.create_model(model).to(memory_format=torch.channels_last),
        augment=Augmentation(mirror=True),
        checkpoint=checkpoint,
        resume=checkpoint.exists(),
        epochs=args.epochs,
        lr=args.lr,
        gradient=Gradient("ste", dtype=torch.bfloat16 if args.bfloat16 else torch.float32),
    )
    after, samples = measure(emulated, data.test)
    drop = paired_drop("top1", samples, baseline)
    save_retrained(emulated, folder, metrics={"top1": after.value}, force=True)
    return {
        "point": point,
        "saved_pct": 100 * (1 - cost.rel_power),
        "before_top1_pct": before.value,
        "top1_pct": after.value,
        "drop_pp": drop.value,
        "drop_low": drop.low,
        "drop_high": drop.high,
        "epochs": args.epochs,
        "train_samples": args.train_samples or len(data.train),
        "lr": args.lr,
        "validation": [epoch.validation for epoch in result.history],
        "seconds": round(time.perf_counter() - start),
    }


def _exact(problem: AssignmentProblem, emulated: EmulatedModel, test: Split) -> Tensor:
    """Assign the exact multiplier, corrected, to all layers; return its test samples."""
    problem.exact(treated=True).apply_(emulated)
    return measure(emulated, test)[1]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a search")
    parser.add_argument("--model", help="network of the zoo (default: the name of the folder)")
    parser.add_argument("--data", required=True, help="reader and path, as for axopt search")
    parser.add_argument(
        "--library", action="append", help="as for the search; '' for the bundled signed ones"
    )
    parser.add_argument("--points", type=int, nargs="+", default=[], help="numbers of points")
    parser.add_argument("--exact", action="store_true", help="the exact network instead")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--train-samples", type=int, help="training images (default: all)")
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--bfloat16", action="store_true", help="backward pass in bfloat16")
    args = parser.parse_args()
    args.library = args.library or [""]
    return args


if __name__ == "__main__":
    main()

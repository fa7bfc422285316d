r"""Retrain a network of the zoo with one multiplier everywhere; one line of JSON per run.

    python -m studies.recovery.retrain resnet8 --data imagefolder:PATH/cifar10.zip \
        --multipliers mul8s_1L2D,mul8s_1L1G --epochs 8

Run it from the repository root. Every layer is first corrected for the multiplier (unless
--no-correct). Scales are then learned with the weights (unless --no-learn-steps), and the float
network's predictions are a second target (unless --no-distil). An interrupted run continues from
its last epoch; a run that is in the results already is skipped. The state with the best validation
accuracy is measured on test.
"""

import argparse
import json
import time
from pathlib import Path

import torch

import axopt
from axopt.corrections import Corrections
from axopt.data import Augmentation, Dataset
from axopt.layers import Gradient
from axopt.retraining import save_retrained

CALIBRATION_SAMPLES = 512


def main() -> None:
    args = _arguments()
    data = axopt.load_data(args.data)
    for gradient in args.gradients.split(","):
        for name in args.multipliers.split(","):
            run = f"{args.model}-{name}-{gradient}-{args.epochs}{'' if args.correct else '-raw'}"
            run += f"{'-swapped' if args.swap else ''}{'' if args.learn_steps else '-fixed'}"
            run += f"-seed{args.seed}" if args.seed else ""
            known = args.out.exists() and any(
                json.loads(line)["run"] == run for line in args.out.read_text().splitlines()
            )
            if not known:
                row = {"run": run, **retrained(args, data, name, gradient, run)}
                with args.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")


def retrained(
    args: argparse.Namespace, data: Dataset, name: str, gradient: str, run: str
) -> dict[str, object]:
    """Return the accuracy before and after, with the settings of the run."""
    start = time.perf_counter()
    calibration = list(data.train.take(CALIBRATION_SAMPLES).batches(64))
    emulated = axopt.prepare(axopt.create_model(args.model), calibration)
    axopt.assign_(emulated, (name, args.swap))
    if args.correct:
        allowed = Corrections(order=not args.swap)
        axopt.correct_(emulated, allowed=allowed, data=calibration)
    teacher = axopt.create_model(args.model).to(memory_format=torch.channels_last)
    before = axopt.evaluate(emulated, data)
    folder = args.folder / run
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.pt"
    result = axopt.retrain(
        emulated,
        data.train,
        validation=data.validation,
        teacher=teacher if args.distil else None,
        augment=Augmentation(mirror=True),
        checkpoint=checkpoint,
        resume=checkpoint.exists(),
        epochs=args.epochs,
        lr=args.lr,
        gradient=Gradient(gradient, dtype=torch.bfloat16 if args.bfloat16 else torch.float32),
        seed=args.seed,
        learn_steps=args.learn_steps,
    )
    after = axopt.evaluate(emulated, data)
    save_retrained(emulated, folder, force=True)
    print(f"{run}: {before.value:.2f} -> {after.value:.2f}", flush=True)
    return {
        "model": args.model,
        "multiplier": name,
        "gradient": gradient,
        "corrected": args.correct,
        "distilled": args.distil,
        "swapped": args.swap,
        "learned_steps": args.learn_steps,
        "seed": args.seed,
        "epochs": args.epochs,
        "lr": args.lr,
        "before": before.value,
        "after": after.value,
        "validation": [epoch.validation for epoch in result.history],
        "best_epoch": result.best_epoch,
        "seconds": round(time.perf_counter() - start),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", required=True, help="reader and path, as for axopt search")
    parser.add_argument("--multipliers", required=True, help="names, comma-separated")
    parser.add_argument("--gradients", default="ste", help="ste, slopes, table, comma-separated")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--correct", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--swap", action="store_true", help="the weight is the first operand")
    parser.add_argument("--learn-steps", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--distil", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--bfloat16", action="store_true", help="backward pass in bfloat16")
    parser.add_argument("--out", type=Path, default=Path("studies/recovery/results/retrain.jsonl"))
    parser.add_argument("--folder", type=Path, default=Path("runs/recovery"))
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    return args


if __name__ == "__main__":
    main()

r"""Measure one multiplier everywhere, with each free correction alone and with all of them.

    python -m studies.recovery.uniform resnet20 --data imagefolder:PATH/cifar10.zip

Run it from the repository root. It writes one CSV line per measurement and skips those that are in
the file already. The exact 8-bit network, no correction and all corrections are measured on all
test images, single corrections on the first ``--samples`` of them.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import axopt
from axopt.corrections import ALL, NONE, Corrections
from axopt.data import Split

CALIBRATION_SAMPLES = 512
COLUMNS = ("model", "multiplier", "rel_power", "setting", "n", "top1_pct", "low_pct", "high_pct")
ALONE = ("nothing", *ALL.names, "batch_norm")
"""The corrections; "batch_norm" is the re-estimation that needs passes over calibration data."""


def settings() -> Iterator[tuple[str, Corrections, bool]]:
    """Return name, corrections chosen for each layer, and whether batch norms are re-estimated."""
    yield "none", NONE, False
    yield "all, no data", ALL, False
    yield "all", ALL, True
    yield "all, any activation code", Corrections(activation_codes=False), True
    yield "nothing", NONE, False
    for name in ALL.names:
        yield name, Corrections(**{**dict.fromkeys(ALL.names, False), name: True}), False
    yield "batch_norm", NONE, True


def main() -> None:
    args = _arguments()
    data = axopt.load_data(args.data)
    calibration = list(data.train.take(CALIBRATION_SAMPLES).batches(64))
    emulated = axopt.prepare(axopt.create_model(args.model), calibration)
    done = _measured(args.out)
    some = data.test.take(args.samples)
    exact = axopt.load_library().exact(signed=True)
    for multiplier in args.multipliers or axopt.load_library().select(release="v1", signed=True):
        for setting, allowed, reestimated in settings():
            name = axopt.load_library()[multiplier].name
            if (args.model, name, setting) in done:
                continue
            axopt.assign_(emulated, multiplier)
            axopt.correct_(emulated, allowed=allowed, data=calibration if reestimated else None)
            split = some if setting in ALONE else data.test
            _append(args.out, [args.model, name, *_figures(emulated, split, setting)])
    if (args.model, "exact", "none") not in done:
        axopt.assign_(emulated, exact)
        _append(args.out, [args.model, "exact", *_figures(emulated, data.test, "none")])


def _figures(emulated: axopt.EmulatedModel, split: Split, setting: str) -> list[object]:
    quality = axopt.evaluate(emulated, split)
    power = axopt.cost(emulated).rel_power
    figures = (quality.value, quality.low, quality.high)
    return [f"{power:.4f}", setting, quality.n, *(f"{v:.2f}" for v in figures)]


def _measured(path: Path) -> set[tuple[str, str, str]]:
    if not path.exists():
        return set()
    with path.open(newline="") as file:
        return {(row["model"], row["multiplier"], row["setting"]) for row in csv.DictReader(file)}


def _append(path: Path, row: list[object]) -> None:
    print(*row, flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if file.tell() == 0:
            writer.writerow(COLUMNS)
        writer.writerow(row)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", required=True, help="reader and path, as for axopt search")
    parser.add_argument("--multipliers", nargs="+", help="(default: the signed ones of v1)")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("studies/recovery/results/uniform.csv"))
    return parser.parse_args()


if __name__ == "__main__":
    main()

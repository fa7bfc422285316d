r"""Measure the time of first corrections, and compare the choices with those of all candidates.

    git worktree add /tmp/before 88a3306
    python -m studies.corrections.measure resnet20 --before /tmp/before \
        --data imagefolder:PATH/cifar10.zip
    python -m studies.corrections.measure layers --before /tmp/before

Run it from the repository root. ``--before`` is a checkout whose corrections are measured beside
those of this one, in turns, in the same thread; without it, this one's plain definition is. The
second command measures single layers of an ImageNet network with random weights and activations.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import axopt
from axopt.corrections import Correction, LayerCorrector
from axopt.layers import EmulatedConv2d, EmulatedLayer, EmulatedLinear
from axopt.multipliers import Multiplier

CALIBRATION_SAMPLES = 512
RESULTS = Path(__file__).parent / "results"
PROGRAM = "corrections_before"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", help="a model of the zoo, or 'layers'")
    parser.add_argument("--data", help="reader and path, as for axopt search")
    parser.add_argument("--before", type=Path, help="another checkout")
    parser.add_argument("--only", nargs="*", help="names of layers")
    args = parser.parse_args()
    torch.set_num_threads(1)
    before = None if args.before is None else corrections_of(args.before)
    if args.what == "layers":
        layers, multipliers = dict(single_layers()), some_multipliers()
    else:
        layers, multipliers = of_model(args.what, args.data)
    rows = []
    for name, layer in layers.items():
        if not args.only or name in args.only:
            rows += compare(name, layer, multipliers, before)
            print(summary(pd.DataFrame(rows[-len(multipliers) :])), flush=True)
    RESULTS.mkdir(exist_ok=True)
    table = pd.DataFrame(rows)
    table.to_csv(RESULTS / f"{args.what}.csv", index=False, float_format="%.5g")
    print(summary(table))


def corrections_of(checkout: Path) -> Any:
    """Return the corrector class of another checkout, under another name beside this one's."""
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(checkout / "axopt" / "corrections", folder / PROGRAM)
    for path in (folder / PROGRAM).glob("*.py"):
        path.write_text(path.read_text().replace("axopt.corrections", PROGRAM))
    sys.path.insert(0, str(folder))
    return importlib.import_module(PROGRAM).LayerCorrector


def of_model(name: str, data: str) -> tuple[dict[str, EmulatedLayer], list[Multiplier]]:
    """Return the layers of a calibrated model, and the signed multipliers of release v1."""
    train = axopt.load_data(data).train.take(CALIBRATION_SAMPLES)
    emulated = axopt.prepare(axopt.create_model(name), train.batches(64))
    multipliers = axopt.load_library().select(signed=True, release="v1")
    return dict(emulated.emulated_layers), list(multipliers.values())


def some_multipliers() -> list[Multiplier]:
    """Return one of one term, one of four terms in two orders, one without terms."""
    library = axopt.load_library()
    return [library[name] for name in ("mul8s_1L2D", "mul8s_1KVL", "mul8u_2HH")]


def single_layers() -> Iterator[tuple[str, EmulatedLayer]]:
    """Yield layers of a ResNet-50 at 224 x 224 pixels, calibrated on smoothed random images."""
    torch.manual_seed(0)
    multiplier = axopt.load_library().exact(signed=True)
    for channels, size in ((64, 56), (256, 14)):
        conv = nn.Conv2d(channels, channels, 3, padding=1)
        layer = EmulatedConv2d(conv, multiplier)
        yield f"conv {channels} at {size}", calibrated(layer, images(channels, size))
    linear = EmulatedLinear(nn.Linear(2048, 1000), multiplier)
    yield "linear 2048", calibrated(linear, torch.randn(512, 2048).relu())


def images(channels: int, size: int) -> torch.Tensor:
    """Return rectified smooth noise whose channels have different means."""
    x = torch.nn.functional.avg_pool2d(torch.randn(16, channels, size, size), 3, 1, 1)
    return (3 * x + torch.randn(channels, 1, 1) / 2).relu()


def calibrated(layer: EmulatedLayer, x: torch.Tensor) -> EmulatedLayer:
    layer.observing = True
    with torch.no_grad():
        layer(x)
    layer.observing = False
    return layer


def compare(
    name: str, layer: EmulatedLayer, multipliers: list[Multiplier], before: Any
) -> list[dict[str, Any]]:
    """Correct one layer for each multiplier in both ways, one after the other.

    Times are processor seconds of this thread. What is shared by the multipliers of a layer is
    made in the first of them.
    """
    layer.derived.clear()
    reference = before or LayerCorrector
    correctors: list[Any] = []
    setup = []
    for kind in (reference, LayerCorrector):
        start = time.thread_time()
        correctors.append(kind(layer))
        setup.append(time.thread_time() - start)
    rows = []
    for multiplier in multipliers:
        start = time.thread_time()
        first, second = correctors
        if before is None:
            plain = first.compared(multiplier, swap=False)
        else:
            plain = first.best(multiplier, swap=False)
        middle = time.thread_time()
        found = second.best(multiplier, swap=False)
        end = time.thread_time()
        rows.append(
            {
                "layer": name,
                "multiplier": multiplier.name,
                "before_ms": 1000 * (middle - start + setup[0]),
                "ms": 1000 * (end - middle + setup[1]),
                "before": described(plain),
                "found": described(found),
                "before_error_pct": plain.error_pct,
                "error_pct": found.error_pct,
            }
        )
        setup = [0.0, 0.0]
    return rows


def described(found: Correction) -> str:
    return " ".join(("swapped",) * found.swap + tuple(found.quantisation.corrections)) or "none"


def summary(table: pd.DataFrame) -> str:
    """Return times, their ratio and how many choices agree."""
    same = np.isclose(table.before_error_pct, table.error_pct, rtol=1e-6, atol=0)
    same &= table.before == table.found
    worst = (table.error_pct / table.before_error_pct).max()
    times = table.before_ms.sum() / table.ms.sum()
    return (
        f"{table.layer.iloc[0]} .. {table.layer.iloc[-1]}: "
        f"{table.before_ms.mean():.1f} ms before, {table.ms.mean():.1f} ms, {times:.2f} times; "
        f"{same.sum()} of {len(table)} choices agree, worst error ratio {worst:.3f}"
    )


if __name__ == "__main__":
    main()

"""Turn results of ``python -m axopt bench --json`` into Markdown tables beside them.

Run: python -m studies.speed.summarise studies/speed/results/*.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from axopt.bench import instruction_sets_in, names_for
from axopt.files import write_text_atomically


def main(argv: Sequence[str] | None = None) -> None:
    """Write NAME.md next to every NAME.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", type=Path, metavar="NAME.json")
    for path in parser.parse_args(argv).results:
        text = summary(path.stem, json.loads(path.read_text("utf-8")))
        write_text_atomically(path.with_suffix(".md"), text)
        print(path.with_suffix(".md"))


def summary(title: str, result: dict[str, Any]) -> str:
    """Return the Markdown of one run."""
    machine, settings = result["machine"], result["settings"]
    parts = [
        f"# {title}",
        f"{machine['cpu']}, {machine['cores']} cores ({', '.join(machine['flags'])}); "
        f"torch {machine['torch']}, Python {machine['python']}. Batch {settings['batch']}, "
        f"{settings['repeats']} rounds.",
    ]
    for threads in settings["threads"]:
        networks = [found for found in result["networks"] if found["threads"] == threads]
        kernels = [found for found in result["kernels"] if found["threads"] == threads]
        counted = f"{threads} thread{'' if threads == 1 else 's'}"
        if networks:
            parts += [f"## Networks, {counted}: time over that of FP32"]
            parts += [_network_table(networks, "fp32_ms", "{:.1f} ms", "ratio")]
        if any(found["fp32_memory_mb"] for found in networks):
            parts += [f"## Networks, {counted}: peak memory over that of FP32"]
            parts += [_network_table(networks, "fp32_memory_mb", "{:.1f} MB", "memory_ratio")]
        for isa in instruction_sets_in(kernels[0]["gmacs_per_s"]) if kernels else []:
            parts += [f"## {isa} kernels, {counted}: GMAC/s", _kernel_table(kernels, isa)]
    return "\n\n".join(parts) + "\n"


def _network_table(
    networks: Sequence[dict[str, Any]], reference: str, form: str, field: str
) -> str:
    """Return a table with one row per multiplier and one column per network; FP32 comes first."""
    names = (f"{n['network']}, batch {n['input'][0]}" for n in networks)
    header = ["multiplier", "terms", *names]
    rows = [["FP32", "", *(_text(network[reference], form.format) for network in networks)]]
    for variants in zip(*(network["results"] for network in networks), strict=True):
        first, ratios = variants[0], (_text(v[field], "{:.2f}".format) for v in variants)
        rows.append([first["multiplier"], str(first["terms"] or "-"), *ratios])
    return _markdown(header, rows)


def _kernel_table(kernels: Sequence[dict[str, Any]], isa: str) -> str:
    """Return a table of the baselines and the kernels of one instruction set."""
    names = names_for(isa, kernels[0]["gmacs_per_s"])
    header = ["layer", "images", *names.values()]
    rows = [
        [
            found["shape"],
            str(found["images"]),
            *(_text(found["gmacs_per_s"][name], "{:.1f}".format) for name in names),
        ]
        for found in kernels
    ]
    return _markdown(header, rows)


def _text(value: float | None, form: Callable[[float], str]) -> str:
    return "-" if value is None else form(value)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    align = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, align, *rows))


if __name__ == "__main__":
    main()

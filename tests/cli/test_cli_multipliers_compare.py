"""``axopt multipliers show`` of circuits, and ``compare``."""

import json

from axopt import load_library
from axopt.circuits import estimate, load_netlists


def test_show_counts_gates_and_estimates_beside_published_figures(axopt):
    shown = json.loads(axopt("multipliers", "show", "mul8s_1L2H", "--json").out)
    netlist = load_netlists()["v1/mul8s_1L2H"]
    assert shown["gates"] == dict(netlist.counts)
    assert shown["depth"] == netlist.depth
    assert shown["power_mw"] == 0.301
    estimated = estimate(netlist)
    assert shown["estimate"]["power_mw"] == estimated.power_mw
    assert shown["estimate"]["intervals"]["delay_ns"] == list(estimated.intervals["delay_ns"])
    lines = axopt("multipliers", "show", "mul8s_1L2H").out.splitlines()
    low, high = estimated.intervals["power_mw"]
    expected = f"from gates  power_mw {estimated.power_mw:.3g} ({low:.3g}..{high:.3g}), area_um2"
    assert any(line.startswith(expected) for line in lines)
    assert f"depth       {netlist.depth}" in lines
    assert any(line.startswith("gates       158: 49 and, 35 fac") for line in lines)


def test_show_of_a_table_has_no_gates(axopt, tmp_path):
    load_library().select(names=["mul8s_1L2H"]).save("lib")
    figures = ("--power", "0.2", "--area", "400", "--delay", "1.1")
    axopt("multipliers", "export", "mul8s_1L2H", "mine.npy")
    assert axopt("multipliers", "import", "mine.npy", *figures, "--to", "lib").code == 0
    shown = json.loads(axopt("multipliers", "show", "mine", "--library", "lib", "--json").out)
    assert (shown["gates"], shown["depth"], shown["estimate"]) == (None, None, None)
    lines = axopt("multipliers", "show", "mine", "--library", "lib").out.splitlines()
    assert "gates       -" in lines
    kept = json.loads(axopt("multipliers", "show", "mul8s_1L2H", "--library", "lib", "--json").out)
    assert kept["depth"] == 15  # bundled multipliers keep their gates


def test_show_draws_the_errors(axopt, tmp_path):
    done = axopt("multipliers", "show", "mul8s_1L2H", "--plot", "errors.png")
    assert done.code == 0
    assert (tmp_path / "errors.png").read_bytes()[:4] == b"\x89PNG"
    assert "plot        errors.png" in done.out


def test_compare_sorts_by_the_error_and_draws(axopt, tmp_path):
    words = ("multipliers", "compare", "mul8s_1L1G", "v1/mul8s_1K*8", "mul8s_1L1G")
    done = axopt(*words, "--plot", "x.png", "--json")
    assert done.code == 0, done.err
    listed = json.loads(done.out)
    assert [m["multiplier"] for m in listed] == [
        "v1/mul8s_1KV8",
        "v1/mul8s_1KR8",
        "v1/mul8s_1L1G",
    ]
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    assert axopt(*words, "--plot", "x.png").out.endswith("the picture is x.png\n")


def test_compare_marks_estimates(axopt):
    words = ("generate", "truncated", "--bits-a", "4", "--bits-w", "5", "--to", "lib")
    assert axopt("multipliers", *words).code == 0
    done = axopt("multipliers", "compare", "user/*", "mul8u_1JFF", "--library", "lib")
    assert done.out.endswith("\n* estimated, not published\n")
    assert len(done.out.splitlines()) == 4


def test_compare_refuses_what_it_does_not_find(axopt, tmp_path):
    done = axopt("multipliers", "compare", "mul8s_1L1G", "mul9*")
    assert (done.code, done.out) == (2, "")
    assert "no multiplier of the library of 489 matches 'mul9*'" in done.err
    assert "did you mean" in axopt("multipliers", "compare", "mul8s_1L1").err
    done = axopt("multipliers", "compare", "mul8s_1L1G", "--plot", "x.gif")
    assert done.code == 2
    assert not list(tmp_path.iterdir())

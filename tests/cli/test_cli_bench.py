"""``axopt bench``."""

import json

import pytest

from axopt.bench.timing import torch_threads
from axopt.cli import bench
from axopt.kernels import available

QUICK = ["bench", "--networks", "digits_cnn", "--batch", "2", "--repeats", "1"]


def test_tables_are_printed_and_progress_goes_to_stderr(axopt):
    done = axopt(
        *QUICK, "--threads", "2", "--multipliers", "mul8s_1L2H,mul8u_2HH", "--no-kernels",
        "--no-memory",
    )  # fmt: skip
    assert done.code == 0, done.err
    machine, table = done.out.split("\n\n")
    assert machine.split("\n")[1].startswith("torch 2.")
    title, header, fp32, first, second = table.rstrip().split("\n")
    assert title == "digits_cnn, input 2x1x8x8, 2 threads, 7 layers, 0.8 MMAC a sample"
    assert header.split() == [
        "multiplier", "terms", "ms", "x", "FP32", "assign", "ms", "peak", "MB", "x", "FP32"
    ]  # fmt: skip
    assert fp32.split()[0] == "FP32"
    assert first.split()[:2] == ["v1/mul8s_1L2H", "1"]
    assert second.split()[:2] == ["v1/mul8u_2HH", "-"]
    assert second.split()[-2:] == ["-", "-"]
    assert "digits_cnn, threads 2: round 2 of 2\n" in done.err


@pytest.fixture
def few_layers(monkeypatch):
    """Only two of the layers whose kernels are measured, each call timed once."""
    from axopt.bench.shapes import SHAPES

    few = SHAPES[0], SHAPES[7]
    monkeypatch.setattr("axopt.bench.kernels.SHAPES", few)
    monkeypatch.setattr("axopt.bench.kernels._MIN_MS", 0.0)
    return [shape.name for shape in few]


def test_json_is_one_object(axopt, few_layers, monkeypatch):
    # each peak is that of a process of its own, see tests/bench
    monkeypatch.setattr("axopt.bench.whole.peak_growth_mb", lambda *_, **__: 2.5)
    done = axopt(*QUICK, "--threads", "1,2,1", "--multipliers", "mul8s_1KV8", "--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    result = json.loads(done.out)
    assert set(result) == {"machine", "settings", "networks", "kernels"}
    assert {"cpu", "cores", "flags", "torch", "kernels"} <= set(result["machine"])
    assert result["settings"] == {"batch": 2, "threads": [1, 2], "repeats": 1}
    assert [found["threads"] for found in result["networks"]] == [1, 2]
    assert [row["shape"] for row in result["kernels"]] == 2 * few_layers
    (variant,) = result["networks"][0]["results"]
    assert variant["multiplier"] == "v1/mul8s_1KV8"
    assert variant["ratio"] > 0
    assert [found["fp32_memory_mb"] for found in result["networks"]] == [None, 2.5]


def test_kernels_are_a_table_for_each_instruction_set_and_number_of_threads(axopt, few_layers):
    done = axopt(*QUICK, "--threads", "1,2", "--multipliers", "mul8s_1KV8", "--no-memory")
    assert done.code == 0, done.err
    isas = [isa for isa in available() if isa != "reference"]
    _, *tables = done.out.split("\n\n")
    titles = [
        f"GMAC/s of {isa} kernels, {threads}"
        for threads in ("1 thread", "2 threads")
        for isa in isas
    ]
    assert [table.split("\n")[0] for table in tables[: len(titles)]] == titles
    for table in tables[: len(titles)]:
        assert [line.split("  ")[0] for line in table.split("\n")[2:]] == few_layers
        assert "1 term  3 terms  5 terms  residual  rows" in table
    assert len(tables[len(titles) :]) == 2


@pytest.fixture
def asked(monkeypatch):
    """What the command asks the library to measure, instead of measuring it."""
    found = {}

    def networks(names, multipliers, **options):
        found.update(networks=names, multipliers=[m.key for m in multipliers], **options)
        return []

    def kernels(**options):
        found["kernels"] = options
        return []

    monkeypatch.setattr("axopt.bench.bench_networks", networks)
    monkeypatch.setattr("axopt.bench.bench_kernels", kernels)
    return found


def test_defaults_are_the_six_networks_and_18_multipliers(axopt, asked):
    from axopt.bench import DEFAULT_NETWORKS

    with torch_threads(2):
        assert axopt("bench").code == 0
    assert asked["networks"] == DEFAULT_NETWORKS
    assert len(asked["multipliers"]) == 13 + 5
    assert (asked["batch"], asked["repeats"], asked["threads"]) == (128, 7, [1, 2])
    assert asked["memory"]
    assert asked["kernels"] == {"batch": 128, "repeats": 7, "threads": [1, 2]}


def test_quick_means_other_defaults_only(axopt, asked):
    from axopt.bench import QUICK_NETWORKS

    assert axopt("bench", "--quick", "--repeats", "5", "--no-kernels", "--no-memory").code == 0
    assert asked["networks"] == QUICK_NETWORKS
    assert [key.partition("/")[2] for key in asked["multipliers"]] == list(bench.QUICK_MULTIPLIERS)
    assert (asked["batch"], asked["repeats"], asked["memory"]) == (32, 5, False)
    assert "kernels" not in asked


def test_another_library_is_measured_whole(axopt, asked, library, tmp_path):
    library.select(names=["mul8s_1KV8", "mul8s_1L2H", "mul8u_2HH"]).save(tmp_path / "mine")
    assert axopt("bench", "--library", "mine").code == 0
    assert asked["multipliers"] == ["v1/mul8s_1KV8", "v1/mul8s_1L2H"]


def test_help_names_every_network(axopt):
    from axopt.bench import NETWORKS

    shown = axopt("bench", "--help").out
    assert all(name in shown for name in NETWORKS)


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["--networks", "alexnet"], ["networks", "'alexnet'", "resnet20"]),
        (["--networks", ","], ["--networks", "','"]),
        (["--networks", ""], ["--networks", "''"]),
        (["--multipliers", "mul8s_1L2X"], ["mul8s_1L2X", "did you mean"]),
        (["--multipliers", "mul9*"], ["--multipliers", "'mul9*'"]),
        (["--threads", "1,0"], ["--threads", "'0'"]),
        (["--threads", "two"], ["--threads", "'two'"]),
        (["--threads", ""], ["--threads", "''"]),
        (["--threads", "1025"], ["--threads", "'1025'"]),
        (["--batch", "0"], ["--batch", "'0'"]),
        (["--batch", "65537"], ["--batch", "'65537'"]),
        (["--repeats", "-1"], ["--repeats", "'-1'"]),
        (["--repeats", "1.5"], ["--repeats", "'1.5'"]),
        (["--library", "missing"], ["missing"]),
        (["--kernel"], ["--kernel"]),
        (["stray"], ["stray"]),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_wrong_input_is_one_line_and_exit_2(axopt, words, fragments):
    done = axopt("bench", "--quick", "--quiet", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("axopt")
    assert done.err.count("\n") == 1
    assert "internal error" not in done.err
    for fragment in fragments:
        assert fragment in done.err

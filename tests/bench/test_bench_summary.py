"""The modules called summarise of the studies, which write tables from results."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def summarise(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from studies.speed import summarise

    return summarise


SPEEDS = {"p": 1.26, "isa: q": None, "other: r": 2.0}


def network(name, threads, memory):
    ratios = {"v1/a": 0.5, "v1/b": 12.345}
    results = [
        {"multiplier": key, "terms": 0, "ratio": ratio, "memory_ratio": memory and 1.25}
        for key, ratio in ratios.items()
    ]
    return {
        "network": name,
        "threads": threads,
        "input": [8, 3, 32, 32],
        "fp32_ms": 10.04,
        "fp32_memory_mb": memory,
        "results": results,
    }


@pytest.fixture
def result():
    machine = {"cpu": "A CPU", "cores": 4, "flags": ["x", "y"], "torch": "2", "python": "3"}
    return {
        "machine": machine,
        "settings": {"batch": 8, "threads": [1, 2], "repeats": 7},
        "networks": [network(n, t, 50.0) for n in ("one", "two") for t in (1, 2)],
        "kernels": [{"shape": "first", "images": 3, "threads": 2, "gmacs_per_s": SPEEDS}],
    }


def test_tables_hold_ratios_by_multiplier_and_network(summarise, result):
    blocks = summarise.summary("run", result).split("\n\n")
    assert blocks[1] == "A CPU, 4 cores (x, y); torch 2, Python 3. Batch 8, 7 rounds."
    assert [block for block in blocks if block.startswith("#")] == [
        "# run",
        "## Networks, 1 thread: time over that of FP32",
        "## Networks, 1 thread: peak memory over that of FP32",
        "## Networks, 2 threads: time over that of FP32",
        "## Networks, 2 threads: peak memory over that of FP32",
        "## isa kernels, 2 threads: GMAC/s",
        "## other kernels, 2 threads: GMAC/s",
    ]
    assert blocks[3].split("\n") == [
        "| multiplier | terms | one, batch 8 | two, batch 8 |",
        "| --- | ---: | ---: | ---: |",
        "| FP32 |  | 10.0 ms | 10.0 ms |",
        "| v1/a | - | 0.50 | 0.50 |",
        "| v1/b | - | 12.35 | 12.35 |",
    ]
    assert blocks[5].split("\n")[2:4] == [
        "| FP32 |  | 50.0 MB | 50.0 MB |",
        "| v1/a | - | 1.25 | 1.25 |",
    ]
    assert blocks[-3].split("\n")[::2] == ["| layer | images | p | q |", "| first | 3 | 1.3 | - |"]
    assert blocks[-1].split("\n")[2] == "| first | 3 | 1.3 | 2.0 |"


def test_what_was_not_measured_is_left_out(summarise, result):
    result["networks"] = [network("one", 1, None)]
    result["kernels"] = []
    assert summarise.summary("run", result).count("## ") == 1


def test_the_file_is_written_beside_the_json(summarise, result, tmp_path, capsys):
    (tmp_path / "run.json").write_text(json.dumps(result))
    summarise.main([str(tmp_path / "run.json")])
    assert (tmp_path / "run.md").read_text() == summarise.summary("run", result)
    assert capsys.readouterr().out == f"{tmp_path / 'run.md'}\n"


def test_multipliers_of_equal_power_have_one_order(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from studies.recovery.summarise import gradient_parts

    results = ROOT / "studies" / "recovery" / "results"
    runs = [json.loads(line) for line in (results / "retrain.jsonl").read_text().splitlines()]
    stored = (results / "tables.md").read_text("utf-8")
    for order in (runs, runs[::-1]):
        assert stored.endswith("\n\n".join(gradient_parts(order)) + "\n")

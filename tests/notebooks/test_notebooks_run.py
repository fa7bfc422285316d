"""The notebooks run from top to bottom in an empty folder, and are kept without outputs."""

import os
import re
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.utils import run_sync
from nbclient import NotebookClient
from smaller_searches import BUDGET, SMALLER, smaller

import axopt

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
CELL_TIMEOUT_S = 600  # the cells take seconds; a busy machine must not fail the test

KERNEL_ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(sys.path),
    "OMP_NUM_THREADS": "1",  # two threads wait for each other for long on a busy machine
}


def read(name):
    return nbformat.read(FOLDER / name, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def new_manager():
    # no folder of kernels: "python3" is then this interpreter, whatever else is installed
    specs = KernelSpecManager(kernel_dirs=[])
    return AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """The client of one kernel, whose start and imports take longer than most notebooks."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        first = NotebookClient(nbformat.v4.new_notebook(), km=new_manager())
        first.execute(env={**os.environ, **KERNEL_ENVIRONMENT})
        yield first
        first.kc.stop_channels()
        run_sync(first.km.shutdown_kernel)(now=True)


@pytest.fixture
def run(kernel, tmp_path):
    """Execute a notebook in an empty folder; returns it with its outputs, and the folder.

    ``whole``: with the searches that are shown, not smaller ones, and in a kernel of its own.
    ``cells``: how many of the code cells, all by default. ``data``: the folder of shared data.
    """
    cwd = tmp_path / "cwd"
    cwd.mkdir()

    def execute(name, *, whole=False, cells=None, data=None):
        notebook = read(name)
        code = code_cells(notebook)
        notebook.cells = code[:cells]
        for cell in [] if whole else code:
            cell.source = smaller(cell.source)
        start = [
            f"import os; os.chdir({str(cwd)!r})",
            f"os.environ['AXOPT_SHARED_DATA'] = {str(data or tmp_path / 'nothing')!r}",
            "%reset -f",
        ]
        notebook.cells.insert(0, nbformat.v4.new_code_cell("\n".join(start)))
        manager = new_manager() if whole else kernel.km
        client = NotebookClient(notebook, km=manager, timeout=CELL_TIMEOUT_S)
        client.kc = None if whole else kernel.kc
        client.execute(cleanup_kc=whole, env={**os.environ, **KERNEL_ENVIRONMENT})
        del notebook.cells[0]
        return notebook, cwd

    return execute


def results(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def warnings_in(notebook):
    streams = [output.text for output in results(notebook) if output.output_type == "stream"]
    return [text for text in streams if "Warning" in text]


def test_there_are_notebooks():
    names = ["design_digits", "gan", "lstm", "pareto", "quickstart", "search"]
    assert [f"{name}.ipynb" for name in names] == NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_kept_clean(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in code_cells(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None
    assert all(cell.metadata == {} for cell in notebook.cells)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_links_of_a_notebook_lead_somewhere(name):
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (FOLDER / target).exists(), target


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_searches_once(name):
    assert sum(len(BUDGET.findall(cell.source)) for cell in code_cells(read(name))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_whole_notebook(run, name):
    notebook, cwd = run(name, whole=True)
    assert not warnings_in(notebook)
    assert len(pd.read_csv(next(cwd.glob("runs/*/front.csv")))) > 1


def test_quickstart(run):
    notebook, cwd = run("quickstart.ipynb")
    assert any("image/png" in output.get("data", {}) for output in results(notebook))
    assert not warnings_in(notebook)
    assert len(pd.read_csv(cwd / "runs" / "quickstart" / "front.csv")) > 1


def test_pareto(run):
    notebook, cwd = run("pareto.ipynb")
    assert any("image/png" in output.get("data", {}) for output in results(notebook))
    assert not warnings_in(notebook)
    front = pd.read_csv(cwd / "runs" / "pareto" / "front.csv")
    exported = axopt.Assignment.load(cwd / "chosen.json")
    (row,) = (
        row
        for row in front.itertuples()
        if axopt.Assignment.load(cwd / "runs" / "pareto" / row.assignment) == exported
    )
    shown = code_cells(notebook)[-1].outputs[-1]["data"]["text/plain"]
    assert float(re.search(r"\bvalue=([\d.]+)", shown)[1]) == pytest.approx(row.quality, rel=1e-15)
    assert set(pd.read_csv(cwd / "chosen.csv").layer) == set(exported.layers)


def images(notebook):
    return [output for output in results(notebook) if "image/png" in output.get("data", {})]


def test_search(run):
    notebook, cwd = run("search.ipynb")
    assert len(images(notebook)) == 4
    assert not warnings_in(notebook)
    (chosen,) = code_cells(notebook)[-1].outputs
    assert "chosen on the validation split" in chosen["data"]["text/plain"]
    assert len(pd.read_csv(cwd / "runs" / "search" / "front.csv")) > 0
    assert len(pd.read_csv(cwd / "runs" / "sensitivity" / "sensitivity.csv")) == 8 * 2


def test_design_digits(run):
    notebook, cwd = run("design_digits.ipynb")
    assert len(images(notebook)) == 1
    assert not warnings_in(notebook)
    assert len(list((cwd / "designed" / "design").glob("*.v"))) == 4
    assert len(axopt.load_library(cwd / "designed")) == 5


def test_gan(run):
    notebook, cwd = run("gan.ipynb")
    assert len(images(notebook)) == 3
    assert not warnings_in(notebook)
    assert len(pd.read_csv(cwd / "runs" / "gan" / "front.csv")) > 1


def test_lstm_without_data_says_so_and_runs(run):
    notebook, cwd = run("lstm.ipynb")
    text = "".join(o.text for o in results(notebook) if o.output_type == "stream")
    assert "sentences made up here are used instead" in text
    assert len(images(notebook)) == 2
    assert not warnings_in(notebook)
    assert len(pd.read_csv(cwd / "runs" / "lstm" / "front.csv")) >= 1
    for file in (cwd / "runs" / "lstm" / "assignments").iterdir():
        layers = axopt.Assignment.load(file).layers
        assert layers["lstm.ih_l0"] == layers["lstm.hh_l0"]


def test_lstm_with_data_prepares_with_it(run):
    shared = Path(os.environ.get("AXOPT_SHARED_DATA", FOLDER.parents[1] / "shared" / "data"))
    if not (shared / "rt-polarity").is_dir():
        pytest.skip(f"no rt-polarity in {shared}")
    notebook, _ = run("lstm.ipynb", cells=4, data=shared.resolve())
    assert "1066" in str([o.get("data") for o in code_cells(notebook)[1].outputs])
    assert "(1.0, {" in str([o.get("data") for o in code_cells(notebook)[3].outputs])
    assert not warnings_in(notebook)


def test_every_replacement_is_of_something_shown():
    cells = [cell.source for name in NOTEBOOKS for cell in code_cells(read(name))]
    shown = "\n".join([*cells, (FOLDER.parent / "README.md").read_text(encoding="utf-8")])
    assert all(pattern.search(shown) for pattern in SMALLER)

"""What the README shows runs, and what it names exists."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file
from smaller_searches import BUDGET, smaller

import axopt
from axopt.circuits import gates_of, write_netlist
from axopt.circuits.formats import yosys
from axopt.cli import loading, main
from axopt.data import list_readers
from axopt.errors import MissingPackageError
from axopt.evaluation import METRICS
from axopt.zoo import default_data, model_card

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
MAX_IMAGE_BYTES = 150_000
SMALL_DEMO = (
    "search --out runs/demo --budget 8 --validation-samples 60 --quiet"
    " --multipliers mul8s_1KV8,mul8s_1KR3"
)
LESS = {  # than what is shown
    "search": "--budget 6 --multipliers mul8s_1KV8,mul8s_1KR3",
    "sensitivity": "--samples 20 --multipliers mul8s_1KV8,mul8s_1KR3",
    "retrain": "--epochs 1 --train-samples 100 --validation-samples 50",
}
ZOO = re.findall(r"^\| `(\w+)` \| .* \| .* ([\d.]+)(?: %)? \| `(.*)` \|$", README, re.MULTILINE)
NOT_RUN = {  # whole searches; a placeholder for a name or path; what tests/cli run as a process
    *(command for _, _, command in ZOO),
    "python -m axopt bench --quick",
    "python -m axopt search",
    "python -m axopt sensitivity",
    "python -m axopt multipliers design --run DIR --to my_design",
    "python -m axopt evaluate --assignment FILE",
    "python -m axopt retrain --assignment FILE",
    "python -m axopt doctor",
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands():
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    lines += re.findall(r"`(python -m axopt[^`]*)`", README)
    return [line.partition(" #")[0].strip() for line in lines]


def needs_yosys(text):
    """Skip a text that reads a Verilog file where that would fail, or compile for minutes."""
    if "mine.v" in text:
        try:
            prepared = yosys.engine().is_prepared
        except MissingPackageError:
            prepared = False
        if not prepared:
            pytest.skip("needs Yosys: pip install 'axopt[rtl]'")


SEARCHING = [number for number, code in enumerate(blocks("python")) if BUDGET.search(code)]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the files that the README takes for granted."""
    folder = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        sys.modules.pop("mine", None)  # an example of a docstring may have one
        (module,) = (block for block in blocks("python") if block.startswith("# mine.py\n"))
        Path("mine.py").write_text(module)
        (verilog,) = blocks("verilog")
        Path("mine.v").write_text(verilog)
        network = runpy.run_path("mine.py")["network"]()
        save_file(network.state_dict(), "mine.safetensors")
        generator = np.random.default_rng(0)
        arrays = {}
        for part in ("train", "test"):
            arrays[f"x_{part}"] = generator.random((100, 3, 16, 16), dtype=np.float32)
            arrays[f"y_{part}"] = np.arange(100) % 10
        np.savez("mine.npz", **arrays)
        release = Path("evoapproxlib/multiplers/8x8_signed/pareto_pwr_mae")
        release.mkdir(parents=True)
        found = axopt.load_library()["mul8s_1L2H"]
        for suffix in ("c", "v", "blif"):
            file = release / f"{found.name}.{suffix}"
            write_netlist(gates_of(found), file, name=found.name, multiplier=found)
        assert main(SMALL_DEMO.split()) == 0
        yield folder
    sys.modules.pop("mine", None)
    if "rms_error" in METRICS:  # a block registers it
        METRICS.remove("rms_error")


def run_block(workplace, number, code):
    script = workplace / f"block_{number}.py"
    script.write_text(code)
    runpy.run_path(str(script))


@pytest.mark.parametrize("number", range(len(blocks("python"))))
@pytest.mark.filterwarnings("ignore:.*are estimated from the gates")
def test_python_block_runs(workplace, number):
    needs_yosys(blocks("python")[number])
    run_block(workplace, number, smaller(blocks("python")[number]))


@pytest.mark.slow
@pytest.mark.parametrize("number", SEARCHING)
def test_whole_python_block_runs(workplace, number):
    run_block(workplace, number, blocks("python")[number])


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("python -m axopt")])
def test_command_runs(workplace, command, capsys):
    if command in NOT_RUN:
        assert main([*command.split()[3:4], "--help"]) == 0
        return
    needs_yosys(command)
    words = shlex.split(command)[3:]
    assert main([*words, *LESS.get(words[0], "").split()]) == 0, capsys.readouterr().err


@pytest.mark.slow
def test_whole_retraining_runs(workplace):
    [command] = [c for c in commands() if c.startswith("python -m axopt retrain --assignment runs")]
    assert main([*shlex.split(command)[3:], "--out", "runs/whole"]) == 0


def test_blocks_and_commands_were_found():
    assert len(blocks("python")) == 8
    assert len(SEARCHING) == 4
    assert len(set(commands()) - NOT_RUN) >= 10
    assert set(commands()) >= NOT_RUN


def test_make_targets_exist():
    targets = [c.split()[1] for c in commands() if c.startswith("make ")]
    assert targets == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_run_folder_holds_what_the_readme_lists(workplace):
    listed = re.findall(r"^\| `([\w./-]+\.[a-z]+)` \|", README, re.MULTILINE)
    assert len(listed) == 13
    names = [name.replace("NN", "00") for name in listed]
    assert all((workplace / "runs" / "demo" / name).is_file() for name in names)
    found = {path.name for path in (workplace / "runs" / "demo").iterdir()}
    assert found == {name.partition("/")[0] for name in names}


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#\s]+)\)", README))
def test_link_leads_somewhere(target):
    if "://" not in target:
        assert (ROOT / target).exists()


def test_images_are_small():
    images = [ROOT / target for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)]
    assert images
    assert all(image.stat().st_size < MAX_IMAGE_BYTES for image in images)


def test_figures_of_the_library_are_true(library):
    assert "99 multipliers" in README
    assert len(library) == 99
    assert "the 13 signed multipliers of v1" in README
    assert len(library.select(signed=True, release="v1")) == 13
    assert "0.425 mW" in README
    assert library.exact(signed=True).power_mw == 0.425
    assert "0.391 mW" in README
    assert library.exact(signed=False).power_mw == 0.391


def test_models_and_layers_that_are_named_exist():
    assert set(re.findall(r'create_model\("(\w+)"\)', README)) <= set(axopt.list_models())


def test_networks_of_the_zoo():
    assert len(ZOO) >= 6
    for name, quality, command in ZOO:
        assert name in axopt.list_models()
        assert re.search(rf"\btest (macro F1 )?{re.escape(quality)}\b", model_card(name)), name
        words = shlex.split(command)
        assert words[:6] == ["python", "-m", "axopt", "search", "--model", name]
        if default_data(name) is None:
            assert words[6] == "--data"
            reader, path = words[7].split(":")
            assert (reader in list_readers(), path) == (True, "PATH")
        else:
            assert words[6:] == []


def test_metrics_that_are_named_exist():
    (sentence,) = re.findall(r"unless `--metric` names another of (.*?)\(", README, re.DOTALL)
    assert sorted(re.findall(r"`(\w+)`", sentence)) == sorted(loading.METRICS)

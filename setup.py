"""Builds the extension; everything else about the package is in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

DEBUG = os.environ.get("AXOPT_DEBUG_CYTHON") == "1"
C_SOURCES = sorted(str(path) for path in Path("axopt/csrc").glob("*.c"))
C_HEADERS = sorted(str(path) for path in Path("axopt/csrc").glob("*.[hi]*"))

# No -march and no link-time optimisation: each C file names its instruction set itself, and the
# choice between them must run on any processor. With -fopenmp the module uses torch's threads.
kernels = Extension(
    "axopt._lut_gemm",
    sources=["axopt/_lut_gemm.pyx", *C_SOURCES],
    depends=C_HEADERS,
    include_dirs=["axopt/csrc"],
    extra_compile_args=["-std=gnu11", "-O3", "-fopenmp", "-fno-lto", "-ffp-contract=off"],
    extra_link_args=["-fopenmp", "-fno-lto"],
    undef_macros=["NDEBUG"] if DEBUG else [],
)

setup(
    packages=[*find_packages(include=["axopt", "axopt.*"]), "axopt.multiplier_lib"],
    package_dir={"axopt.multiplier_lib": "multiplier_lib"},
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

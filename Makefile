# Everything runs from .venv, which the first target to need it builds. Needs: Python 3.11 or
# newer with venv, make and a C compiler (README names the versions).
#   make demo    search the bundled digits network, results in runs/demo/ (replaced each time)
#   make test    all tests but the slow ones, in two processes
#   make lint    ruff and mypy
#   make build   the environment and the native extension only
#   make clean   remove what the build made, but no results in runs/

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
NATIVE := $(wildcard axopt/*.pyx axopt/*.pxd axopt/csrc/*)

.PHONY: demo test lint build venv clean
.DELETE_ON_ERROR:

demo: build
	$(BIN)/python -m axopt search --out runs/demo --force

test: build
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

lint: build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

build: $(VENV)/.built
venv: $(VENV)/.dependencies

# torch comes first and alone: other packages must find it, not choose another build of it.
$(VENV)/.dependencies: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("axopt needs Python 3.11 or newer, this is " + \
	    sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) setuptools wheel cython numpy
	touch $@

$(VENV)/.built: $(VENV)/.dependencies setup.py pyproject.toml $(NATIVE)
	$(INSTALL) --no-build-isolation --editable '.[test,lint]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info axopt/*.so axopt/_lut_gemm.c
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Everything runs from .venv, which is built by the first target that needs it. Requirements: Python
# 3.11 or newer with venv, make and a C compiler (README names the versions).
#   make demo      search a small bundled network; replaces the results in runs/demo/
#   make test      run all tests except the slow ones, in two processes
#   make lint      run ruff and mypy, and compile the C files with warnings as errors
#   make sanitize  run the kernel tests under AddressSanitizer and UBSan, on all instruction sets
#                  of this processor
#   make build     build the environment and the native extension
#   make clean     remove the files of the build, but not the results in runs/

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
NATIVE := $(wildcard axopt/*.pyx axopt/*.pxd axopt/csrc/*)
HEADERS := $(wildcard axopt/csrc/*.h axopt/csrc/*.inc)
CHECKS := tests/kernels/native/check_kernels.c

# The flags with which setup.py compiles the C files. Warnings are errors only here: another compiler
# may have more of them, which must not stop a user's build.
C_FLAGS := -std=gnu11 -fopenmp -ffp-contract=off -Iaxopt/csrc
WARNINGS := -Wall -Wextra -Wconversion -Werror
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=all
LINTED := $(patsubst %.c,build/lint/%.o,$(wildcard axopt/csrc/*.c) $(CHECKS))
SANITIZED := $(patsubst %.c,build/sanitize/%.o,$(wildcard axopt/csrc/*.c) $(CHECKS))

.PHONY: demo test lint lint-c sanitize build venv clean
.DELETE_ON_ERROR:

demo: build
	$(BIN)/python -m axopt search --model digits_small --budget 150 --points 12 \
	    --out runs/demo --force

# Bytecode is kept even where the environment says otherwise: without it every process, and the tests
# start many, compiles the package again.
test: build
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

lint: build lint-c
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lint-c: $(LINTED)

build/lint/%.o: %.c $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(CC) $(C_FLAGS) -O2 $(WARNINGS) -c -o $@ $<

# The tests skip the instruction sets that this processor lacks, and say so. libstdc++ is loaded early
# too, because AddressSanitizer must find __cxa_throw when torch throws.
sanitize: build build/sanitize/check_kernels
	ASAN_OPTIONS=detect_leaks=0 build/sanitize/check_kernels
	rm -rf build/sanitize/package
	AXOPT_SANITIZE=1 $(BIN)/python setup.py -q build --build-base build/sanitize/objects \
	    --build-lib build/sanitize/package
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libstdc++.so.6)" \
	    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	    PYTHONPATH=build/sanitize/package $(BIN)/pytest -q -m "not slow" -p no:cacheprovider \
	    --ignore tests/kernels/test_kernels_build.py --ignore tests/kernels/test_kernels_sanitized.py \
	    tests/kernels tests/modules/test_modules_gates.py

# No optimisation: files compile four times as fast, and no access is optimised away.
build/sanitize/%.o: %.c $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(CC) $(C_FLAGS) -O0 -g1 $(SANITIZERS) -c -o $@ $<

build/sanitize/check_kernels: $(SANITIZED)
	$(CC) $(C_FLAGS) $(SANITIZERS) -o $@ $^

build: $(VENV)/.built
venv: $(VENV)/.dependencies

# torch is installed first and alone, so that other packages find it and choose no other build.
$(VENV)/.dependencies: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("axopt needs Python 3.11 or newer, this is " + \
	    sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) setuptools wheel cython numpy
	touch $@

$(VENV)/.built: $(VENV)/.dependencies setup.py pyproject.toml $(NATIVE)
	$(INSTALL) --no-build-isolation --editable '.[test,lint,rtl]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info axopt/*.so axopt/_lut_gemm.c
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

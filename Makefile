# Everything runs from .venv, which the first target to need it builds. Needs: Python 3.11 or
# newer with venv, make and a C compiler (README names the versions).
#   make demo    search the bundled digits network, results in runs/demo/ (replaced each time)
#   make test    all tests but the slow ones, in two processes
#   make lint    ruff and mypy, and the compiler's warnings on the C files
#   make sanitize  the kernel tests under AddressSanitizer and UBSan, on every instruction set here
#   make build   the environment and the native extension only
#   make clean   remove what the build made, but no results in runs/

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
NATIVE := $(wildcard axopt/*.pyx axopt/*.pxd axopt/csrc/*)
HEADERS := $(wildcard axopt/csrc/*.h axopt/csrc/*.inc)
CHECKS := tests/kernels/native/check_kernels.c

# The C files as setup.py compiles them. Only here warnings are errors: another compiler may have
# more of them, which must not stop a user's build.
C_FLAGS := -std=gnu11 -fopenmp -ffp-contract=off -Iaxopt/csrc
WARNINGS := -Wall -Wextra -Wconversion -Werror
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=all
LINTED := $(patsubst %.c,build/lint/%.o,$(wildcard axopt/csrc/*.c) $(CHECKS))
SANITIZED := $(patsubst %.c,build/sanitize/%.o,$(wildcard axopt/csrc/*.c) $(CHECKS))

.PHONY: demo test lint lint-c sanitize build venv clean
.DELETE_ON_ERROR:

demo: build
	$(BIN)/python -m axopt search --out runs/demo --force

test: build
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

lint: build lint-c
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lint-c: $(LINTED)

build/lint/%.o: %.c $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(CC) $(C_FLAGS) -O2 $(WARNINGS) -c -o $@ $<

# What a processor lacks is not run: the tests skip it and say so. libstdc++ is loaded early as well:
# AddressSanitizer must find __cxa_throw when torch throws.
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

# Without optimisation: it compiles four times as fast, and the checks see every access.
build/sanitize/%.o: %.c $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(CC) $(C_FLAGS) -O0 -g1 $(SANITIZERS) -c -o $@ $<

build/sanitize/check_kernels: $(SANITIZED)
	$(CC) $(C_FLAGS) $(SANITIZERS) -o $@ $^

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

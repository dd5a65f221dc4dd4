# Everything is installed into .venv of this checkout; each target sets up what it needs.
#
#   make demo    indexes and searches rendered footage with the defaults; prints the report's path
#   make test    lint, types and the whole test suite; `make test T=tests/models/fls` runs only what T names
#   make test-fast    tests that need no server, browser, cluster or footage, without slow tests
#   make check   lint and types only
#   make docs    generates docs/commands.md from the program, and builds the documentation site in build/site
#   make label-studio    runs a local Label Studio server on 127.0.0.1:8080 until Ctrl-C
#   make clean   removes everything that make created

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

# Tests on real footage use ../shared/data if it exists.
ifeq ($(strip $(VESTIGO_TEST_DATA)),)
export VESTIGO_TEST_DATA := $(abspath $(wildcard ../shared/data))
endif

.PHONY: demo test test-fast check docs label-studio install constraints clean
.DELETE_ON_ERROR:

demo: install
	$(BIN)/vestigo demo --out demo

PYTEST := $(BIN)/python -m pytest
# Tests wait half of their time for servers, browsers and clusters: half more processes than processors.
PROCESSES ?= $(shell $(BIN)/python -c 'import os; print(min(6, os.cpu_count() * 3 // 2))')
IN_PARALLEL = --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

ifeq ($(strip $(T)),)
test: check
	$(BIN)/python -m tools.provide
	$(PYTEST) $(IN_PARALLEL)
else
test: install
	$(BIN)/python -m tools.provide
	$(PYTEST) $(T)
endif

test-fast: install
	$(PYTEST) $(IN_PARALLEL) -m "not slow"

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: install
	$(BIN)/python -m tools.commands
	$(BIN)/mkdocs build --quiet

label-studio: install
	@$(BIN)/python -m tools.label_studio

install: $(INSTALLED)

# torch is installed first, so that no other package installs another build of it.
$(INSTALLED): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "vestigo: Python 3.11 or newer is needed; name it: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@echo "installing PyTorch and the build tools into $(VENV)"
	@$(PIP) torch hatchling editables
	@echo "installing Vestigo and about 150 pinned packages into $(VENV) (some minutes)"
	@$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@

# After a change of dependencies: pin the installed versions, without local build tags such as +cpu and +cu130.
constraints: install
	@echo "# Every version that the tests ran with, development tools included; 'make constraints' writes this file." > $@.txt
	$(BIN)/python -m pip --disable-pip-version-check freeze --all --exclude pip --exclude-editable | sed -E 's/\+[a-z0-9.]+$$//' >> $@.txt
	@touch $(INSTALLED)

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Two commands on a machine that has python3 (3.11 or later) and make:
#   make audit     set up .venv and run the first audit
#   make test      the same set-up with the development tools, then every check
# PYTHON picks the interpreter; PIP_FLAGS goes to every pip install; SUITE, OUT and ARGS go to the audit.

PYTHON ?= python3
PIP_FLAGS ?=
SUITE ?= quick
OUT ?= results/$(SUITE)
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
WHEEL := build/wheel
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --no-input --no-compile --constraint constraints.txt $(PIP_FLAGS)
# pip compiles one file after another; some templates in packages are no Python and are passed over.
COMPILE = $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help audit test lint types contracts check-schema tests test-wheel schema clean

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

audit: $(VENV)/installed
	@$(BIN)/sidelight audit $(SUITE) --out $(OUT) $(ARGS)

test: lint types contracts check-schema tests

# --- set-up ---------------------------------------------------------------------------------------------------

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "No command $(PYTHON) found: install Python 3.11 or later, or name one, as in 'make PYTHON=python3.12 audit'." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Sidelight needs Python 3.11 or later, and $(PYTHON) is older: name a newer one, as in 'make PYTHON=python3.12 audit'." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) could not create $(VENV): its module venv must be complete (on Debian and Ubuntu, the package python3-venv)." >&2; exit 1; }

# The build tool is installed first and build isolation is off, so that it is the pinned one under every pip.
$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Sidelight into $(VENV): once, 1.5 GB or more, some minutes."
	@$(BIN)/python $(PIP_INSTALL) setuptools
	@$(BIN)/python $(PIP_INSTALL) --no-build-isolation --editable .
	@$(COMPILE)
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "Installing the development tools into $(VENV)."
	@$(BIN)/python $(PIP_INSTALL) --no-build-isolation --editable '.[dev]'
	@$(COMPILE)
	@touch $@

# --- checks ---------------------------------------------------------------------------------------------------

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/installed-dev
	$(BIN)/mypy

contracts: $(VENV)/installed-dev
	$(BIN)/lint-imports

# Two test processes of one thread each: the suite is made for two cores.
tests: $(VENV)/installed-dev
	$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder --benchmark-disable --durations=20 --cov --cov-report=term

# What users get: the wheel in an empty environment, tried from another folder.
test-wheel: $(VENV)/installed-dev
	rm -rf build
	mkdir -p $(WHEEL)/elsewhere
	$(BIN)/python -m pip wheel --quiet --no-input --no-deps --no-build-isolation --wheel-dir $(WHEEL) .
	$(PYTHON) -m venv $(WHEEL)/venv
	$(WHEEL)/venv/bin/python $(PIP_INSTALL) $(WHEEL)/*.whl pytest pytest-timeout
	cd $(WHEEL)/elsewhere && ../venv/bin/sidelight --help
	cd $(WHEEL)/elsewhere && ../venv/bin/sidelight list protocols
	cd $(WHEEL)/elsewhere && ../venv/bin/pytest ../../../tests/test_packaging.py ../../../tests/test_command_line.py

# --- the message schema ---------------------------------------------------------------------------------------

PROTOC = $(BIN)/python -m grpc_tools.protoc
SCHEMAS = system/message system/network/network

schema: $(VENV)/installed-dev
	@for one in $(SCHEMAS); do \
		$(PROTOC) --proto_path=$$(dirname $$one) --python_out=$$(dirname $$one) --pyi_out=$$(dirname $$one) $$one.proto; done

check-schema: $(VENV)/installed-dev
	@mkdir -p build/schema
	@for one in $(SCHEMAS); do \
		$(PROTOC) --proto_path=$$(dirname $$one) --python_out=build/schema --pyi_out=build/schema $$one.proto; \
		for made in _pb2.py _pb2.pyi; do cmp build/schema/$$(basename $$one)$$made $$one$$made \
			|| { echo "$$one$$made is not what $$one.proto gives: run 'make schema'." >&2; exit 1; }; done; done

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .benchmarks .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find system attacks audits benchmarks reports tests -name __pycache__ -type d -prune -exec rm -rf {} +

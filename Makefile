# Every command here works on a fresh machine with Python 3.11+ and make: each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROFILE ?= quick
EXTRAS := dask,fsspec,observe,postgres,processes,ray,redis,s3,science,zstd
RESOLUTION := highest

.DEFAULT_GOAL := help
.PHONY: help install demo test lowest identity check lint types layers faults bench docs migrate-check clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --resolution $(RESOLUTION) --python $(BIN)/python --group dev --editable '.[$(EXTRAS)]'
	@touch $@

# What is compiled here starts five times as fast where PYTHONDONTWRITEBYTECODE keeps Python from doing it.
install: $(VENV)/.installed  ## make .venv with valuestore and the development tools
	@$(BIN)/python -m compileall -q valuestore migrations examples tests

demo: install  ## run the census four times: cold, again, one file touched, one file changed
	@$(BIN)/python examples/demo.py

test: install  ## run the tests (PROFILE=thorough for the slow ones too, and more hypothesis examples)
	@HYPOTHESIS_PROFILE=$(PROFILE) $(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

LOWEST := tests/db/engine tests/db/schema tests/db/record tests/stores/content tests/scheduler/test_runs.py
lowest:  ## run the quick suites with the lowest versions of dependencies that are allowed (on Python 3.11)
	@$(MAKE) --no-print-directory test VENV=.venv-lowest RESOLUTION=lowest-direct ARGS="$(or $(ARGS),$(LOWEST))"

identity: install  ## run the identity tests on every Python from 3.11 up on this machine
	@$(BIN)/python tests/golden/every_python.py

check: lint types layers migrate-check test  ## format, lint, types, layers, migrations and tests

lint: install
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: install
	@$(BIN)/mypy

layers: install
	@$(BIN)/lint-imports

migrate-check: install  ## prove that migrated and declared schema are equal
	@$(BIN)/python -m pytest -q tests/db/schema/test_migrations.py

$(VENV)/.bench: pyproject.toml $(VENV)/.installed
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --group bench
	@touch $@

faults: install  ## look for faults under fire, at full size: hours (ARGS="kills --scale 0.1" for some)
	@$(BIN)/python -m tests.faults $(ARGS)

bench: $(VENV)/.bench  ## compare with redun, joblib and diskcache (ARGS="--jobs 1000" for a short run)
	@$(BIN)/python -m benchmarks $(ARGS)

docs: install  ## check that the code in README and docs runs
	@$(BIN)/python -m pytest -q tests/test_docs.py

clean:  ## remove everything that make made
	@rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage* *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

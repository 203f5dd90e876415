# Two commands on a machine with only Python 3.11:
#   make demo    build a sample model for the Coral Edge TPU and show its verdict
#   make test    everything that must hold before a change goes in
# Both make a virtual environment in .venv and install into it once; they install again when pyproject.toml or
# constraints.txt change.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
OUT ?= out

.PHONY: help demo test lint bench clean

help:
	@sed -n 's/^#   //p' Makefile

demo: .venv/demo.stamp
	$(BIN)/edgecompile build --recipe sample_models/digits-cnn/recipe.toml --target coral --out $(OUT)

test: lint
	$(BIN)/python -m pytest -n 2

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict edgecompile benchmarks

bench: .venv/dev.stamp
	@test -n "$${EDGECOMPILE_DATA:-}" || { echo "set EDGECOMPILE_DATA to the folder of real models and data"; exit 2; }
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python benchmarks/build_time.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/ethosu.py
	$(BIN)/python benchmarks/compression.py
	$(BIN)/python benchmarks/differential.py

clean:
	rm -rf .venv out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/demo.stamp: pyproject.toml constraints.txt | .venv/made.stamp
	$(INSTALL) --editable ".[all]"
	touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | .venv/made.stamp
	$(INSTALL) --editable ".[all,dev]"
	touch $@ .venv/demo.stamp

# A stamp of its own: an interrupted `venv` leaves a folder without pip.
.venv/made.stamp:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "edgecompile needs Python 3.11 or later"'
	$(PYTHON) -m venv --clear .venv
	touch $@

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CORE_TESTS := tests/unit/core tests/unit/test_projection.py

.PHONY: help venv demo test test-unit lint format bench controlplane lock clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(READY) ## Create .venv with the locked dependencies

$(READY): constraints.txt pyproject.toml
	@echo "== creating $(VENV) with the locked dependencies (once)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Rollbook needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: venv ## Show Rollbook at work on a real control plane
	@$(BIN)/python -m tests.demo

test: venv lint ## Prove it: linters, then all tests, on a real control plane
	@echo "== all tests (the first run builds a Kubernetes control plane, 4 to 8 minutes)"
	@$(BIN)/coverage run -m pytest $(CORE_TESTS)
	@$(BIN)/coverage report --include='src/rollbook/core/*' --fail-under=100 --skip-covered
	@$(BIN)/python -m pytest -n auto tests/unit $(addprefix --ignore=,$(CORE_TESTS))
	@$(BIN)/python -m pytest tests/integration

test-unit: venv ## The tests that need no control plane
	@$(BIN)/python -m pytest -n auto tests/unit

lint: venv ## ruff, mypy, import-linter, codespell
	@echo "== linters"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/codespell

format: venv ## Format the code and repair what ruff can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: venv ## Measure on a real control plane with 1,000 Deployments (4 minutes)
	@$(BIN)/python -m tests.benchmarks

controlplane: venv ## Start a real control plane, print its kubeconfig, stay until Ctrl-C
	@$(BIN)/python -m tests.controlplane

lock: venv ## Renew constraints.txt (needs uv)
	@uv pip compile pyproject.toml --quiet --upgrade --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate --no-header --output-file constraints.txt

clean: ## Remove .venv and what tools left behind
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage build dist

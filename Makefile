# Needs make, git and Python 3.11 or newer. `make` alone lists the targets.
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first Python that is new enough; choose another with `make setup PYTHON=/path/to/python`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; exit 0; }; \
	done; echo python3)
CODE := nas tests experiments torture
ARGS ?=
DEVICE ?= cuda
TORTURE ?=
EVALUATE_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup search test test-all torture docs matrix evidence gpu-check lint format clean

help: ## list the targets
	@echo "make <target>"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s%s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## create .venv and install everything, once (PYTHON=... chooses the interpreter)

# What is never imported is not compiled: a third of the time.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed, but '$(PYTHON)' is $$($(PYTHON) -V 2>&1)." >&2; \
		echo "Install one, or name it: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { \
		echo "Could not create $(VENV). On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --no-compile --editable '.[dev]'
	@touch $(STAMP)

search: setup ## search a cell on the digits, then evaluate it (ARGS and EVALUATE_ARGS are overrides)
	@run="outputs/start/$$(date +%Y-%m-%d_%H-%M-%S)" && \
	echo "== search: $$run/search" && \
	$(BIN)/python -m nas.search experiment=start/digits hydra.run.dir="$$run/search" $(ARGS) && \
	echo && echo "== evaluate: $$run/evaluate" && \
	$(BIN)/python -m nas.evaluate experiment=start/evaluate_digits genotype="$$run/search" \
		hydra.run.dir="$$run/evaluate" $(EVALUATE_ARGS) && \
	echo && printf '%-16s %s\n' \
		"search" "$$run/search" \
		"  found cell" "$$run/search/genotype.json" \
		"  pictures" "$$run/search/figures" \
		"evaluation" "$$run/evaluate" \
		"  test result" "$$run/evaluate/summary.json" \
		"  pictures" "$$run/evaluate/figures"

test: setup ## run the tests but for those of tests/slow.txt (ARGS go to pytest)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" $(ARGS)

test-all: setup ## run all tests, before a release and after a change of processes, launchers or kernels
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

torture: setup ## faults by the thousand, hours of a core; goes on (TORTURE=<minutes>: a share; ARGS: --room kills --plants --keep --since <commit>)
	OMP_NUM_THREADS=1 $(BIN)/python -m torture $(if $(TORTURE),--minutes $(TORTURE)) $(ARGS)

docs: setup ## build the documentation site into build/site; its search needs "python -m http.server -d build/site"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build $(ARGS)

matrix: setup ## run every method in four spaces as a command, a quarter of an hour of a core; goes on (ARGS: --keep ...)
	$(BIN)/python -m experiments.methods.commands $(ARGS)

evidence: setup ## go on with docs/evidence.md, days of a core in all (ARGS: --data, --table, --row ..., --plan, --record-only)
	$(BIN)/python -m experiments.evidence $(ARGS)

# Where nothing is installed but torch and numpy, PYTHON=... has them.
gpu-check: ## whether all holds on a GPU and what it reaches, ten minutes, as gpu_check.json (DEVICE=cpu: the same, small)
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m experiments.gpu_check --device $(DEVICE) $(ARGS)

lint: setup ## check style, formatting and types
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy nas

format: setup ## format the code and sort its imports
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

clean: ## remove .venv and caches; outputs/ stays
	rm -rf $(VENV) build .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
	find $(CODE) -type d -name __pycache__ -prune -exec rm -rf {} +

# `make demo` and `make test` need nothing beforehand but Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Processes that share the tests; files stay together, in the order of their names.
JOBS ?= 2
# Modules are compiled once for all processes of both parts, even where the surroundings
# ask for none of it to be kept: tests start many.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-all check docs notebooks site bench bench-minhash evidence soak clean

help: ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(READY) ## create .venv with the pinned versions

# torch goes in by itself first: one that is there and satisfies the pin stays.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,bench]"
	touch $(READY)

demo: $(READY) ## make a pool with planted defects, prune it, judge the result
	$(BIN)/winnow demo

# Which tests `make test` runs; "not soak" is both parts in one go, as in CI, where what
# files share is made once and no process waits twice for the other's last file.
TESTS ?= not slow
test: $(READY) ## the tests for everyday use, at most 8 minutes on two cores
	$(PYTEST) -m "$(TESTS)"

test-slow: $(READY) ## the second part, which CI runs, too
	$(PYTEST) -m "slow and not soak"

test-all: $(READY) ## both parts, the soak tests and every example of the property tests
	$(PYTEST)

check: $(READY) site ## ruff, mypy --strict, import contracts, the documentation's links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY) ## write the reference: names, keys, commands, reasons, files
	PYTHONPATH=pipeline $(BIN)/python docs/generate.py
	PYTHONPATH=pipeline $(BIN)/python docs/generate_pages.py
	PYTHONPATH=pipeline $(BIN)/python docs/generate_files.py

notebooks: $(READY) ## run the notebooks and save them with what they show (a minute)
	PYTHONPATH=pipeline $(BIN)/python notebooks/execute.py

site: $(READY) ## the documentation as pages in site/, every link followed
	sed -E -e 's#\]\(docs/#](#g' -e 's#^\#\# \[(.*)\]#\#\# \1#' -e '/^\[.*CHANGELOG/d' CHANGELOG.md > docs/changelog.md
	$(BIN)/zensical build --strict

bench: $(READY) ## ratios against peers and bare libraries, as a table in the docs
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[peers]"
	$(BIN)/python benchmarks/table.py

bench-minhash: $(READY) ## near-duplicate text against its peers, and at 1 M and 10 M rows
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[peers]"
	$(BIN)/python benchmarks/minhash.py
	$(BIN)/python benchmarks/minhash_scale.py

# DATA, MODEL: what docs/evidence/README.md names; WORK: vectors and runs, kept.
DATA ?= ../shared/data
MODEL ?= ../shared/models/lite0
WORK ?= build/evidence

evidence: $(READY) ## the papers' claims on the data beside the checkout: docs/evidence
	for name in sorscher dbp dfn r2d2 semdedup qqt; do PYTHONPATH=pipeline $(BIN)/python \
	  benchmarks/evidence/$$name.py --data $(DATA) --model $(MODEL) --work $(WORK) || exit 1; done

# CASES=100000 SEED=7 make soak: other and more cases; soak.log names each faulty one.
CASES ?= 10000
SEED ?= 0
KILLS ?= 200

soak: $(READY) ## hostile inputs and kills by the hundred: no traceback, no row lost
	$(BIN)/python benchmarks/soak/campaign.py --cases $(CASES) --seed $(SEED)
	$(BIN)/python benchmarks/soak/kills.py --kills $(KILLS) --seed $(SEED)
	$(BIN)/python benchmarks/soak/machine.py

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist

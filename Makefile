# `make` lists the targets. A fresh machine needs Python 3.11 or newer; `make test` needs Java 17 and
# Maven too, for the Apache Kafka that the tests run on.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for one in python3.11 python3.12 python3.13 python3; do \
	$$one -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$one; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
TENSORFLOW = $(shell sed -n 's/^ *"\(tensorflow>=[^"]*\)".*/\1/p' setup.py)

.PHONY: help
help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | sort | awk -F'\t' '{printf "make %-8s %s\n", $$1, $$2}'

.PHONY: demo
demo: .venv/.service ## the whole system with nothing installed: broker, images, model, a table of answers
	@$(BIN)/image-consumer demo

.PHONY: test
test: .venv/.tests ## every test, the quick ones first; fetches an Apache Kafka once if none is given
	$(BIN)/pytest

.PHONY: chaos
chaos: .venv/.tests ## everything that can go wrong, at length (hours); writes the table of docs/chaos.md
	$(BIN)/python -m tests.faults --seeds 3 --write docs/chaos.md
	$(BIN)/python -m tests.simulation --histories 1000000
	$(BIN)/python -m tests.hostile
	$(BIN)/python -m tests.hostile.fuzz --inputs 100000

.PHONY: lint
lint: .venv/.tests ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: train
train: .venv/.service ## trains the shipped model again, from its seed (minutes)
	$(BIN)/python -m consumer.demo.training

.PHONY: bench
bench: .venv/.bench ## parts, service and what one would write instead, side by side: a table (4 minutes)
	$(BIN)/python -m ops.bench --json bench.json --plot bench.png

.PHONY: bench-full
bench-full: .venv/.bench ## every backend at five loads (45 minutes); writes the README's table and the plot
	$(BIN)/python -m ops.bench full --json bench.json --readme

.PHONY: soak
soak: .venv/.service ## half an hour of steady load: memory, threads and file descriptors must not grow
	$(BIN)/python -m ops.steady_load

.PHONY: kafka
kafka: .venv/.service ## an Apache Kafka with our topics to try by hand, until Ctrl-C
	$(BIN)/python -m ops.local_kafka --topics image-urls:6,image-predictions:6,image-urls.dead-letter:1

.PHONY: clean
clean: ## removes what was made here: environment, caches, the fetched Kafka
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: an environment is made once, and again when setup.py changes.
.venv/.service: setup.py
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found (set PYTHON=…)" >&2; exit 1; }
	@test ! -L .venv || { echo ".venv is a link: installing would change another folder's environment" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
	@$(PIP) install --no-index --no-deps --dry-run '$(TENSORFLOW)' 2>/dev/null \
		&& echo "setup.py is newer than .venv: installing what has changed" \
		|| echo "installing into .venv: TensorFlow is 570 MB, this takes a minute or two, once"
	@$(PIP) install --editable .
	@touch $@

.venv/.bench: setup.py .venv/.service
	@echo "installing what the benchmarks need into .venv, once"
	@$(PIP) install --editable '.[bench,openvino,quantize]'
	@touch $@

.venv/.tests: setup.py .venv/.service
	@echo "installing what the tests need into .venv, once"
	@$(PIP) install --editable '.[dev,openvino,quantize,keras2]'
	@touch $@

# make run    the main job: the five-city demo on the best back end of this machine
# make test   every test that this machine can run, and a table of what ran and what did not, with the reason
# make lint   ruff (checks and format), mypy --strict, import contracts
# make bench  Strait against kernel TCP and QUIC implementations, in turns
# make compare  controllers, ARQ modes and FEC over standard links, in virtual time
# make clean  what was built here, .venv included; results/ stay
# All of them make .venv on demand, and install missing Debian packages when root. Nothing else is needed first.

SHELL := /bin/bash
PY := .venv/bin/python
TOPOLOGY ?= topologies/demo.lab.yml
BACKEND ?= auto
LANES ?=

.PHONY: run test lint bench compare clean lock prepare

run: prepare
	$(PY) -m orchestrator run $(TOPOLOGY) --backend $(BACKEND)

test: prepare
	$(PY) -m tests.lanes $(LANES)

lint: prepare
	.venv/bin/ruff check
	.venv/bin/ruff format --check -q
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache --no-logo

bench: prepare
	$(PY) -m tests.bench

compare: prepare
	$(PY) -m tests.compare

lock:
	python3 .ci/lock

prepare:
	@.ci/prepare

clean:
	rm -rf .venv .cache .ruff_cache .mypy_cache .pytest_cache .hypothesis .import_linter_cache .coverage* dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

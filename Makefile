# Everything here sets itself up in .venv, given Python 3.11 or later (with venv), git and make.
#
#   make demo     train, mirror to two servers, survive an outage, migrate, verify
#   make test     every check: lint, types, import contracts, docs, all tests
#   make check    the quick part of it, for while you work
#   make bench    measure speed
#   make docs     write the pages that come from the code
#   make site     build the documentation as a site, into site/
#   make clean    remove what was made, the virtual environment included

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
PY := $(VENV)/bin/python
SOURCES := src backends tests docs/generate.py $(wildcard examples benchmarks)
# Two at a time: the tests start servers, and those need processors as well.
WORKERS ?= 2

.PHONY: help test check lint demo bench docs site clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   //p' Makefile

$(PY):
	@test -n "$(PYTHON)" || { echo "multitrack needs Python 3.11 or later with venv (on Debian and Ubuntu: apt install python3-venv); \
	point to one with 'make PYTHON=/path/to/python3'" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip

$(VENV)/.demo: pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --editable '.[dev]'
	@touch $@

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/ruff format --check $(SOURCES)
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo
	$(PY) docs/generate.py --check

test: lint
	$(PY) -m pytest --numprocesses $(WORKERS) --dist loadfile

check: lint
	$(PY) -m pytest --numprocesses $(WORKERS) --dist loadfile -m 'not slow'

demo: $(VENV)/.demo
	$(PY) examples/demo/main.py

bench: $(VENV)/.demo
	$(PY) benchmarks/main.py

docs: $(VENV)/.dev
	$(PY) docs/generate.py

site: docs
	$(VENV)/bin/zensical build --strict

clean:
	rm -rf $(VENV) build dist site .cache demo-output .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src backends tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

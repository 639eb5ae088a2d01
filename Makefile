# Two commands: `make demo` runs the digits network on the RTL, `make test` runs the whole test suite.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: demo test setup clean
demo: $(VENV)/.demo
	@./eightfold/needs_icarus.sh
	$(BIN)/eightfold demo --out out/demo

test: $(VENV)/.test
	@./eightfold/needs_icarus.sh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2

setup: $(VENV)/.test

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) out build dist *.egg-info

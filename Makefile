# Two commands: `make demo` runs the digits network on the RTL, `make test` runs the whole test suite.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The tests use both cores by themselves.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test setup clean
demo: $(VENV)/.demo
	@./eightfold/needs.sh simulator $(BIN)/python
	@$(BIN)/eightfold demo --out out/demo

test: $(VENV)/.test
	@./eightfold/needs.sh simulator $(BIN)/python
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2

setup: $(VENV)/.test

$(BIN)/python:
	@./eightfold/needs.sh python $(PYTHON)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 2; }

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "setting up $(VENV), which takes a minute or two"
	@$(BIN)/python -m pip install -qq --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "setting up $(VENV) for tests, which takes a minute or two"
	@$(BIN)/python -m pip install -qq --editable '.[test]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) out build dist *.egg-info

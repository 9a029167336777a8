# make demo: set up and run the main job.  make test: set up and run the tests.  make check: exactly what CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# Data sets that lie beside the checkout are used where they are; elsewhere the catalogue downloads them.
ifneq ($(wildcard ../shared/data),)
export EMBEDWORKS_DATA ?= $(abspath ../shared/data)
endif
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: demo test test-all check format bench docs clean

demo: $(VENV)/.installed
	$(BIN)/embedworks demo $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -m "not slow and not effect" $(ARGS)

test-all: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict --quiet

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev
	$(BIN)/embedworks bench encode $(ARGS)

docs: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[lora,mteb,test,check,docs]"
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache

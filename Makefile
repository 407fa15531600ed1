# Two commands: `make demo` shows the main job, `make test` passes the checks. Both set up what they need.
# `make setup` alone leaves .venv with the `rag` script in it. A caller's PYTHON is honoured.

PYTHON ?= python3
VENV := .venv
RAG := $(VENV)/bin/rag

.PHONY: setup demo test lint types bench clean

setup: $(VENV)/.installed
demo: setup
	$(VENV)/bin/python examples/demo.py
test: $(VENV)/.installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	# CI=1: hypothesis tries the same examples every time. Three on two cores: tests wait for the disk too.
	CI=1 $(VENV)/bin/pytest -n 3 --dist loadfile --durations 15

$(VENV)/.installed: pyproject.toml tools/setup.sh
	PYTHON="$(PYTHON)" sh tools/setup.sh $(VENV)
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	PYTHON="$(PYTHON)" sh tools/setup.sh $(VENV) --group test
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

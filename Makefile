# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
OLDEST_PYTHON ?= python3.10
ENV := .venv
OLDEST := .venv-oldest
RUN := $(ENV)/bin/python

demo: $(ENV)/ready
	$(RUN) -m ar_core demo

test: $(ENV)/ready
	$(RUN) -m pytest -n 2
	$(RUN) tests/run_comfyui.py --short

# The same tests with the oldest versions of everything, on the oldest Python at hand.
test-oldest: $(OLDEST)/ready
	AR_OLDEST=1 $(OLDEST)/bin/python -m pytest -n 2

# In every ComfyUI that COMFYUI_PATHS names, each in its own Python; says so where there is none.
test-comfyui: $(ENV)/ready
	$(RUN) tests/run_comfyui.py --table docs/compatibility.md

# Ten thousand damaged files and odd words, others every time; the seed is among the warnings.
fuzz: $(ENV)/ready
	AR_FUZZ=10000 $(RUN) -m pytest -n 2 tests/test_fuzz.py

lint: $(ENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) scripts/check_types.py
	$(RUN) scripts/density.py

format: $(ENV)/ready
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

$(ENV)/ready: requirements.txt requirements-dev.txt constraints.txt
	$(PYTHON) -m venv $(ENV)
	$(RUN) -m pip install --quiet -r requirements-dev.txt -c constraints.txt
	touch $@

$(OLDEST)/ready: requirements.txt constraints-oldest.txt
	$(OLDEST_PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet -r requirements.txt -c constraints-oldest.txt
	$(OLDEST)/bin/python -m pip install --quiet accelerate hypothesis pytest pytest-xdist 'setuptools>=77' -c constraints-oldest.txt
	touch $@

.PHONY: demo test test-oldest test-comfyui fuzz lint format

# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
ENV := .venv
RUN := $(ENV)/bin/python

demo: $(ENV)/ready
	$(RUN) -m ar_core demo

test: $(ENV)/ready
	$(RUN) -m pytest
	$(RUN) tests/run_comfyui.py

$(ENV)/ready: requirements.txt constraints.txt
	$(PYTHON) -m venv $(ENV)
	$(RUN) -m pip install --quiet -r requirements.txt pytest bitsandbytes -c constraints.txt
	touch $@

.PHONY: demo test

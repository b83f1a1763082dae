# `make quickstart` and `make test` need Python 3.11 or later and make, and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= 2  # test files at a time; each takes a core and a gigabyte

.PHONY: install quickstart test test-fast lint format bench clean

install: $(READY)

$(READY): setup.py requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	-$(BIN)/python -m pip install --quiet --no-deps basicsr==1.4.2  # a guest; Restore works without it
	touch $@

quickstart: $(READY)
	$(BIN)/restore prepare drawn datasets/drawn_faces
	$(BIN)/restore prepare astronaut datasets/drawn_faces/astronaut
	$(BIN)/python restore/train.py -opt options/quickstart.yml --auto_resume
	$(BIN)/python restore/test.py -opt options/test/quickstart.yml
	@echo "picture:     experiments/quickstart/report.png"
	@echo "TensorBoard: $(BIN)/tensorboard --logdir experiments/quickstart/tb"

test: $(READY)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test-fast: $(READY)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info experiments/quickstart datasets/drawn_faces

# `make quickstart` and `make test` need Python 3.11 or later and make, and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_VENV ?= .venv-bench
BENCH ?=  # arguments of benchmarks/bench.py, such as BENCH='--only data'
PEERS := basicsr==1.4.2 facexlib==0.3.0 realesrgan==0.3.0 gfpgan==1.3.8
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

bench: $(BENCH_VENV)/.ready
	$(BENCH_VENV)/bin/python benchmarks/bench.py $(BENCH)

# Peers come without what they ask for, which is old; one that cannot be installed is told, here and in the results.
$(BENCH_VENV)/.ready: setup.py requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --upgrade pip setuptools wheel
	$(BENCH_VENV)/bin/python -m pip install --quiet -e '.[dev]'
	@: > $(BENCH_VENV)/peers_missing.txt
	@for peer in $(PEERS); do \
	  $(BENCH_VENV)/bin/python -m pip install --quiet --no-deps $$peer > $(BENCH_VENV)/pip.log 2>&1 || \
	    echo "$$peer cannot be installed: $$(tail -n 1 $(BENCH_VENV)/pip.log)" | tee -a $(BENCH_VENV)/peers_missing.txt; \
	done
	touch $@

clean:
	rm -rf $(VENV) $(BENCH_VENV) build dist *.egg-info experiments/quickstart datasets/drawn_faces

# `make demo`, `make test` and `make bench` need Python >= 3.10 with venv, and make; they install the rest into .venv.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-aarch64 test-jetpack6 cpp-headers check bench clean

demo: .venv/installed
	$(BIN)/tks-edge demo --output demo

test: check
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder tests

# The runtime on a Jetson's processor, emulated; on Debian or Ubuntu.
test-aarch64: .venv/installed
	$(BIN)/python -m tests.aarch64.run

# The runtime on a Jetson's Python 3.10, where there is one.
test-jetpack6: .venv/installed
	$(BIN)/python -m tests.jetpack6.run

# What the test of the C++ example needs, beside g++; on Debian.
cpp-headers:
	examples/cpp/get_headers.sh

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# BENCH_OPTIONS: of the latency benchmark, such as --quick.
bench: .venv/bench-installed
	$(BIN)/python -m benchmarks.latency --output bench/latency.json $(BENCH_OPTIONS)
	$(BIN)/python -m benchmarks.export_cost --output bench/export-cost.json
	$(BIN)/python -m benchmarks.artifact_size --output bench/artifact-size.json
	$(BIN)/python -m benchmarks.training --output bench/training.json

.venv/bench-installed: .venv/installed
	$(BIN)/pip install --quiet --editable '.[train,bench]'
	touch $@

.venv/installed: pyproject.toml runtime/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11")'
	@echo "installing into .venv: about 6 GB, some minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[train,dev]'
	touch $@

clean:
	rm -rf .venv demo bench build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Every target sets up what it needs in .venv. A stranger on PyTorch's default index gets a build with CUDA (gigabytes);
# name PyTorch's own index of CPU wheels to get the small one:  make quickstart TORCH_INDEX=<that index>
PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
# Two files of tests at a time: what a file's tests share is made once.
TWO_AT_ONCE := -n 2 --dist loadfile
# The slow ones wait a good part of their time, for links that are silent and programs that start.
THREE_AT_ONCE := -n 3 --dist loadfile
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
       $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: help quickstart packages test test-slow test-all test-gpu test-arm64 check format bench clean
.DELETE_ON_ERROR:

help: ## say what there is
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 20

quickstart: $(VENV)/toolchain.stamp ## train, prune, export and measure a receiver model: four to six minutes on two cores
	$(BIN)/thinwave quickstart

packages: ## Debian's packages that the slow tests need: an ssh server, an emulator, a browser; as root
	apt-get update -qq
	apt-get install --yes --quiet openssh-server python3-venv procps qemu-user-static chromium chromium-driver

test: $(VENV)/dev.stamp ## the tests, without the slow ones
	$(BIN)/pytest $(TWO_AT_ONCE) -m "not slow"

test-slow: $(VENV)/dev.stamp ## the slow ones, without the others
	$(BIN)/pytest $(THREE_AT_ONCE) -m slow

test-all: $(VENV)/dev.stamp ## all tests
	$(BIN)/pytest

test-gpu: $(VENV)/dev.stamp ## what only a machine with an NVIDIA GPU can show: engines that run
	$(PIP) --editable '.[toolchain,dev,tensorrt]'
	$(BIN)/pytest tests/gpu

test-arm64: $(VENV)/dev.stamp ## the device package on arm64 Python under an emulator; as root, on Debian 12
	command -v qemu-aarch64-static > /dev/null || { apt-get update -qq && apt-get install --yes --quiet qemu-user-static; }
	sh tests/arm64/make_root.sh .arm64 $(BIN)/python -m pip
	$(BIN)/pytest tests/arm64

check: $(VENV)/dev.stamp ## format, lint, types, import rules, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest $(TWO_AT_ONCE) -m "not slow"

format: $(VENV)/dev.stamp ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/dev.stamp ## the figures of the README, but for the method's and the comparison's: about five hours
	$(BIN)/python benchmarks/quickstart.py
	$(BIN)/python benchmarks/planning.py
	$(BIN)/python benchmarks/deploy.py --again
	$(BIN)/python benchmarks/targets.py --again
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/fuzz_readers.py --json benchmarks/results/fuzz_readers.json

clean: ## remove the environment and what tools left
	rm -rf $(VENV) .arm64 build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "thinwave needs Python 3.10 or newer; name one: make PYTHON=python3.11 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/toolchain.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing thinwave and its toolchain in $(VENV)"
	$(PIP) --editable '.[toolchain]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/toolchain.stamp
	@echo "installing what tests and checks need in $(VENV)"
	$(PIP) --editable '.[toolchain,dev]'
	@touch $@

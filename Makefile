# make demo         install seg-edge and segment a portrait
# make web          build the page of `seg-edge serve` (needs Node.js 20 or newer, and xz)
# make test         run all tests
# make check        check format, style and types, and run all tests: what a change must pass
# make bench        measure how fast and how accurate the models are, and write a report
# make bench-check  compare with the last `make bench`: has anything become slower or worse?
# Set PYTHON to use another interpreter; set VENV to put the environment elsewhere.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps

# Three processes for every two cores, as many tests wait; the tests of a file stay together, as they share fixtures.
WORKERS := $(shell echo $$(( ($$(nproc) * 3 + 1) / 2 )))
PARALLEL := --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# On a Raspberry Pi the environment sees the system's packages: picamera2 and libcamera come with the system.
ON_A_PI := $(shell grep -qs 'Raspberry Pi' /proc/device-tree/model && echo yes)
# The Python part of the real packages, for tests of our calls; a Pi has the system's.
PICAMERA2 := picamera2==0.3.38 videodev2==0.0.4
VENV_OPTIONS := $(if $(ON_A_PI),--system-site-packages,)

.PHONY: demo web test check format bench bench-check clean
.DELETE_ON_ERROR:

demo: $(STAMPS)/run
	@echo "Segmenting a portrait: tests/data/grace_hopper.jpg ..."
	@mkdir -p demo
	@$(BIN)/seg-edge image tests/data/grace_hopper.jpg --out demo --force
	@echo "The result: $(CURDIR)/demo/grace_hopper.overlay.jpg"

web:
	@command -v npm >/dev/null || { echo "error: no npm; install Node.js 20 or newer (sudo apt install nodejs npm)" >&2; exit 1; }
	@echo "Installing the tools that build the page ..."
	@npm ci --silent --prefix edge/web
	@echo "Checking and building the page ..."
	@npm run --silent --prefix edge/web build
	@echo "The page is built; 'seg-edge serve' shows it."

# Bytecode is cached whatever the environment says: the tests start about a hundred programs that import it.
test: $(STAMPS)/dev
	@echo "Running the tests on all cores; skipped tests and their reasons are listed at the end ..."
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest $(PARALLEL)

check: $(STAMPS)/dev
	@echo "Checking the format and the style ..."
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@echo "Checking the types ..."
	@$(BIN)/mypy
	@$(MAKE) --no-print-directory test

format: $(STAMPS)/dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMPS)/dev
	@echo "Measuring everything; this takes about ten minutes, with nothing else running ..."
	@$(BIN)/python benchmarks/bench.py

bench-check: $(STAMPS)/dev
	@echo "Measuring again and comparing with the last 'make bench' on this machine ..."
	@$(BIN)/python benchmarks/check.py

clean:
	rm -rf $(VENV) edge/web/node_modules edge/seg_edge/serve/page demo dist build .pytest_cache .ruff_cache .mypy_cache

# The environment is made once and updated only when pyproject.toml changes, so a second run needs no network.
$(STAMPS)/venv:
	@echo "Making a Python environment in $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "error: Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; set PYTHON=python3.12, for example.")'
	@$(PYTHON) -m venv $(VENV_OPTIONS) $(VENV) || { echo "error: no venv module; run: sudo apt install python3-venv" >&2; exit 1; }
	@mkdir -p $(STAMPS)
	@touch $@

$(STAMPS)/run: $(STAMPS)/venv pyproject.toml
	@echo "Installing seg-edge into it ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(STAMPS)/dev: $(STAMPS)/run pyproject.toml
	@echo "Installing TensorFlow and the other tools of a workstation; the first time, this takes a few minutes ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[train,serve,dev]'
	@$(if $(ON_A_PI),true,$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(PICAMERA2))
	@touch $@

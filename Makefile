# make demo   a mask on a portrait, from nothing
# make web    the page of `seg-edge serve` (needs Node.js 20 or newer)
# make test   everything the project promises
# make check  what a change must pass: format, lint, types, tests
# make bench  how fast and how accurate, against what; make bench-check: has it got slower or worse since?
# Set PYTHON to use another interpreter; set VENV to put the environment elsewhere.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps

# As many processes as cores; a file's tests stay together, as they share what they made.
PARALLEL := --numprocesses auto --dist loadfile --no-loadscope-reorder

# On a Raspberry Pi the environment sees the system's packages: picamera2 and libcamera come with the system.
ON_A_PI := $(shell grep -qs 'Raspberry Pi' /proc/device-tree/model && echo yes)
# The real package's Python code, for tests of our calls; what drives a camera isn't there, and a Pi has its system's.
PICAMERA2 := picamera2==0.3.38 videodev2==0.0.4
VENV_OPTIONS := $(if $(ON_A_PI),--system-site-packages,)

.PHONY: demo web test check format bench bench-check clean
.DELETE_ON_ERROR:

demo: $(STAMPS)/run
	@mkdir -p demo
	@$(BIN)/seg-edge image tests/data/grace_hopper.jpg --out demo --force
	@echo "Look at $(CURDIR)/demo/grace_hopper.overlay.jpg"

web:
	@command -v npm >/dev/null || { echo "error: no npm; install Node.js 20 or newer (sudo apt install nodejs npm)" >&2; exit 1; }
	npm ci --prefix edge/web
	npm run --prefix edge/web build

test: $(STAMPS)/dev
	$(BIN)/python -m pytest $(PARALLEL)

check: $(STAMPS)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(PARALLEL)

format: $(STAMPS)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMPS)/dev
	$(BIN)/python benchmarks/bench.py

bench-check: $(STAMPS)/dev
	$(BIN)/python benchmarks/check.py

clean:
	rm -rf $(VENV) edge/web/node_modules edge/seg_edge/serve/page demo dist build .pytest_cache .ruff_cache .mypy_cache

# An environment is made once and filled again only when pyproject.toml changes, so a second run needs no network.
$(STAMPS)/venv:
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "error: Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; set PYTHON=python3.12, for example.")'
	$(PYTHON) -m venv $(VENV_OPTIONS) $(VENV) || { echo "error: no venv module; run: sudo apt install python3-venv" >&2; exit 1; }
	@mkdir -p $(STAMPS)
	@touch $@

$(STAMPS)/run: $(STAMPS)/venv pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(STAMPS)/dev: $(STAMPS)/run pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[train,serve,dev]'
	$(if $(ON_A_PI),,$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(PICAMERA2))
	@touch $@

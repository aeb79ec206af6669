# Two commands to know: `make demo` and `make test`. Everything happens in .venv, which a second call reuses.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CUDA_VENV ?= .venv-cuda
CUDA_TORCH ?= 2.11.0
DEMO_RUN ?= demo-run
# One BLAS thread a process: with several, two processes on two cores slow each other down by far.
export OMP_NUM_THREADS ?= 1
PYTEST_WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(8, os.cpu_count() or 1))")
# A file of tests stays in one process, the longest begin first (tests/conftest.py), and a process that dies ends the run.
PYTEST = $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

.DEFAULT_GOAL := help
.PHONY: help demo test browser docs slow constraints fuzz fake-gpu gpu rehearse lint types wheel plugin release clean

help:
	@echo "make demo     score a small suite on this machine, in a few minutes"
	@echo "make test     the default tests"
	@echo "make browser  leaderboards in Chromium"
	@echo "make docs     the documentation as a site, in site-docs/"
	@echo "make slow     the tests that take longer, and make fake-gpu"
	@echo "make constraints  whether the packages of the slow tests go together"
	@echo "make fake-gpu code for GPUs on a machine without one; needs 5 GB for an environment of its own"
	@echo "make gpu      what a GPU makes of it, within 8 minutes on an H100"
	@echo "make rehearse the same at tiny size on a CPU, within a minute"
	@echo "make fuzz     damaged files for every reader: COUNT=10000 SEED=0"
	@echo "make lint     ruff"
	@echo "make types    mypy --strict"
	@echo "make wheel    build the package, look into it, run it from elsewhere"
	@echo "make plugin   install the example package from a wheel, use it, remove it, read its results"
	@echo "make release  wheel and sdist in clean environments with the oldest and newest versions; draft notes"
	@echo "make clean    take all of it away"

$(BIN)/python:
	$(PYTHON) -c "import sys; sys.exit('javisbench needs Python 3.11 or newer; this is ' + sys.version.split()[0] + \
	  '. Name another: make PYTHON=python3.12') if sys.version_info < (3, 11) else None"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[site]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(VENV)/.installed $@

# Three models: scenes whose sound and picture belong together, the same with sound that is 0.3 s late, the same without motion.
DEMO_EVAL = $(BIN)/javisbench eval --model procedural:sync -M rates=suite --suite sync-scenes --limit 24 --protocol javisbench-v2

demo: $(VENV)/.installed
	$(DEMO_EVAL) --name in-step --out $(DEMO_RUN)/in-step
	$(DEMO_EVAL) -M offset_s=0.3 --name late --out $(DEMO_RUN)/late --quiet > $(DEMO_RUN)/late.txt
	$(DEMO_EVAL) -M damage=frozen --name frozen --out $(DEMO_RUN)/frozen --quiet > $(DEMO_RUN)/frozen.txt
	$(BIN)/javisbench leaderboard build $(DEMO_RUN)/in-step $(DEMO_RUN)/late $(DEMO_RUN)/frozen --out $(DEMO_RUN)/board \
	  --title "javisbench demo" --clips extremes --quiet
	@echo
	$(BIN)/javisbench report $(DEMO_RUN)/in-step $(DEMO_RUN)/late $(DEMO_RUN)/frozen
	@echo
	@echo "Board:  file://$(abspath $(DEMO_RUN))/board/index.html"
	@echo "Clips:  $(DEMO_RUN)/late/clips/   (play one: any browser opens the mp4)"
	@echo "Next:   $(BIN)/javisbench compare $(DEMO_RUN)/in-step $(DEMO_RUN)/late"
	@echo "        $(BIN)/javisbench inspect $(DEMO_RUN)/late/clips/sync_0001.mp4 --html $(DEMO_RUN)/clip.html"
	@echo "        $(BIN)/javisbench score $(DEMO_RUN)/late/clips --suite sync-scenes --limit 4 --name mine   (or a folder of your own)"

test: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow and not gpu and not browser"

# Needs Debian's chromium and chromium-driver, and JAVISBENCH_AXE=.../axe.min.js for the accessibility checks.
browser: $(VENV)/.installed-dev
	$(PYTEST) -m "browser and not slow"

# Strict: a link or anchor that leads nowhere, a page that is in no menu or a docstring that cannot be read ends it.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	$(BIN)/python tests/check_site.py site-docs

# An S3 server and a Ray cluster on this machine, and networks of other packages, which the default tests do without.
SLOW_PACKAGES = --constraint constraints.txt --editable '.[dev,cloud,ray,vggish]' 'moto[server]>=5'

$(VENV)/.installed-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet $(SLOW_PACKAGES)
	touch $@

# CI does not install them: that they go together is all that it looks at.
constraints: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --dry-run --quiet $(SLOW_PACKAGES)

slow: $(VENV)/.installed-slow
	$(PYTEST) -m slow
	$(MAKE) fake-gpu

# Torch for CUDA, which needs no GPU to be imported; the releases of the other packages are those of the constraints.
$(CUDA_VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(CUDA_VENV)
	grep -v '^torch==' constraints.txt > $(CUDA_VENV)/constraints.txt
	$(CUDA_VENV)/bin/python -m pip install --quiet --constraint $(CUDA_VENV)/constraints.txt \
	  torch==$(CUDA_TORCH) pytest hypothesis --editable '.[baselines,clip,clap]'
	touch $@

gpu: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/gpu.py --out benchmarks/results/gpu.jsonl

rehearse: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/gpu.py --rehearse

fake-gpu: $(CUDA_VENV)/.installed
	$(CUDA_VENV)/bin/python -m pytest tests/test_fake_gpu.py
	$(CUDA_VENV)/bin/python benchmarks/fake_gpu.py --out benchmarks/results/fake_gpu.json

# A reader may give a result or one sentence; crashes, hangs, defects and memory beyond what is stated end it with 1.
COUNT ?= 10000
SEED ?= 0
fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.fuzz --count $(COUNT) --seed $(SEED)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

wheel: $(VENV)/.installed-dev
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python tests/check_wheel.py dist

plugin: $(VENV)/.installed-dev
	$(BIN)/python tests/check_plugin.py

release: $(VENV)/.installed-dev
	.ci/release

clean:
	rm -rf $(VENV) $(CUDA_VENV) site-docs dist build *.egg-info $(DEMO_RUN)

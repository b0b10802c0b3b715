# Everything lives in .venv, but for `bench-compiled`; a target makes what it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# What is imported is compiled when it is first imported; most of what is installed never is.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
export JAX_PLATFORMS ?= $(if $(shell command -v nvidia-smi),,cpu)

.DEFAULT_GOAL := help
.PHONY: help house docs evolve digits digits-clip evolve-vision evolve-images test test-slow parity browser fuzz kills check lint types sources spaces operators bench bench-compiled bench-device plan-proof clean

help: ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

evolve: $(VENV)/.installed ## evolve a merge of the bundled sources
	$(BIN)/evojax-merge evolve +experiment=quickstart

digits: $(VENV)/.installed ## the instant experiment on handwritten digits
	$(BIN)/evojax-merge evolve +experiment=digits

digits-clip: $(VENV)/.installed ## the same on pictures of them, of a small CLIP
	$(BIN)/evojax-merge evolve +experiment=digits_clip

evolve-vision: $(VENV)/.installed ## a small LLaVA and a Japanese model become a LLaVA that speaks Japanese
	$(BIN)/evojax-merge evolve +experiment=vision

evolve-images: $(VENV)/.installed ## small pipelines of SDXL's kind become one that draws from Japanese prompts in four steps
	$(BIN)/evojax-merge evolve +experiment=images

test: $(VENV)/.installed-test ## the fast test suite
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

test-slow: $(VENV)/.installed-test ## what takes minutes
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist worksteal

parity: $(VENV)/.installed-peer ## comparison with mergekit, pymoo and lm-evaluation-harness, and trackers that are talked to
	$(BIN)/python -m pytest -m 'parity and not slow'

browser: $(VENV)/.installed-browser ## reports in Chromium (Debian: chromium chromium-driver)
	$(BIN)/python -m pytest -m browser --numprocesses 0 tests/browser

fuzz: $(VENV)/.installed-test ## ten thousand damaged files, none of which may do harm
	$(BIN)/python -m pytest -m fuzz --capture no --numprocesses 0 tests/fuzz

kills: $(VENV)/.installed-test ## two hundred kills, after which every run ends the same
	$(BIN)/python -m pytest -m kills --capture no --numprocesses 0 tests/kills

check: lint types test ## what CI runs

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

sources: $(VENV)/.installed-test ## train the bundled sources again
	$(BIN)/python -m experiments.digits.make_sources
	$(BIN)/python -m experiments.digits_clip.make_sources
	$(BIN)/python -m experiments.quickstart.make_sources
	$(BIN)/python -m experiments.spaces.make_sources
	$(BIN)/python -m experiments.vision.make_sources
	$(BIN)/python -m experiments.images.make_sources

spaces: $(VENV)/.installed ## compare parameter space, data flow, hybrid and joint
	$(BIN)/python -m experiments.spaces.compare

operators: $(VENV)/.installed ## compare operators, untuned and evolved, on the bundled experiments
	$(BIN)/python -m experiments.operators.compare

bench: $(VENV)/.installed-peer ## every benchmark, into experiments/benchmarks/results.json
	$(BIN)/python -m experiments.benchmarks.run

bench-compiled: $(VENV)-compiled/.installed ## what programs for an H100 and a TPU move and hold, compiled without either
	$(VENV)-compiled/bin/python experiments/benchmarks/run.py compiled
	$(VENV)-compiled/bin/python experiments/benchmarks/compiled_tables.py

plan-proof: $(VENV)-compiled/.installed ## whether searches of 7 B and 70 B fit on TPUs and GPUs, without either; ONLY=v5p for some
	$(VENV)-compiled/bin/python experiments/benchmarks/plan_proof.py $(if $(ONLY),--only $(ONLY))

# DEVICE_PYTHON is for a machine that cannot install, e.g. one with JAX, torch and carried wheels.
SHAPE ?= 7b
DEVICE_PYTHON ?= $(BIN)/python
bench-device: $(if $(filter $(BIN)/python,$(DEVICE_PYTHON)),$(VENV)/.installed-peer) ## one accelerator in nine minutes; SHAPE=25m for a CPU
	$(DEVICE_PYTHON) experiments/benchmarks/device.py --shape $(SHAPE)

docs: $(VENV)/.installed-docs ## the documentation as web pages, into site/; a broken link is an error
	$(BIN)/mkdocs build --strict

house: ## rooms, floors and arrows of the package, from its imports
	$(PYTHON) docs/house.py

clean: ## remove the environment, the runs and the built pages
	rm -rf $(VENV) $(VENV)-compiled runs site

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable '.[docs]'
	touch $@

# An environment of its own: in .venv JAX would look for a TPU from then on.
$(VENV)-compiled/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-compiled
	$(VENV)-compiled/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[compiled]'
	touch $@

# torch is only what the Flax models are compared with; by itself, or pip takes a CUDA build.
$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) torch==2.13.0
	$(PIP) --constraint constraints.txt --editable '.[test]'
	touch $@

$(VENV)/.installed-browser: $(VENV)/.installed-test
	$(PIP) --constraint constraints.txt --editable '.[browser]'
	touch $@

# mergekit's own requirements would pull older versions of ours; merging needs none of the rest.
$(VENV)/.installed-peer: $(VENV)/.installed-test
	$(PIP) --no-deps mergekit==0.1.5 peft==0.21.2 accelerate==1.15.0 immutables==0.21
	$(PIP) --constraint constraints.txt --editable '.[lm-eval,mlflow,wandb]'
	touch $@

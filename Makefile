# Everything on a fresh clone: make demo, make test. Needs python3 (3.10 or newer), make and git; the rest is obtained.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint tools/constraints.txt

# Byte code is what makes the second start quick.
unexport PYTHONDONTWRITEBYTECODE
# A path from the caller's own environment would hide what is installed here.
unexport PYTHONPATH PYTHONHOME
export PYTHONUNBUFFERED = 1

.DEFAULT_GOAL := help
.PHONY: docs site pictures help demo digits notebook test lint engines faults matrix coverage allcoverage types benchmark format constraints release clean

help: ## Show this list.
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

$(BIN)/python:
	@$(PYTHON) tools/make_venv.py $(VENV)

# One stamp for each set of packages: what is installed is not looked at again until the list changes.
$(VENV)/.demo: pyproject.toml tools/constraints.txt | $(BIN)/python
	@echo "installing Wingspan and what the demo needs …"
	@$(PIP) --editable . --group demo
	@touch $@

$(VENV)/.digits: pyproject.toml tools/constraints.txt | $(BIN)/python
	@echo "installing Wingspan and what makes environments travel …"
	@$(PIP) --editable '.[environments]'
	@touch $@

$(VENV)/.dev: pyproject.toml tools/constraints.txt | $(BIN)/python
	@echo "installing Wingspan and what the tests need …"
	@$(PIP) --editable '.[all,s3]' --group dev
	@touch $@ $(VENV)/.demo $(VENV)/.digits $(VENV)/.notebook

$(VENV)/.notebook: pyproject.toml tools/constraints.txt | $(BIN)/python
	@echo "installing Wingspan and JupyterLab …"
	@$(PIP) --editable '.[notebook]'
	@touch $@

FOLDER ?= .
notebook: $(VENV)/.notebook ## JupyterLab with a pool of your own beside it; FOLDER=examples ARGS="--no-browser --port 9000".
	@$(BIN)/wingspan notebook $(ARGS) $(FOLDER)

demo: $(VENV)/.demo ## Find the best classifier of handwritten digits on a pool of your own, and draw what was found.
	@$(BIN)/python examples/demo.py

docs: $(VENV)/.dev ## The documentation site: build/docs/index.html; the manual pages are in build/man. Warnings are errors.
	@$(BIN)/sphinx-build -q -E -W --keep-going -b html docs build/docs
	@$(BIN)/sphinx-build -q -W --keep-going -b man -d build/docs/.doctrees docs build/man
	@echo "build/docs/index.html"

site: $(VENV)/.dev ## The documentation of every release beside that of this tree: build/site/index.html.
	@$(BIN)/python tools/docs_versions.py

# Most tests wait for an engine: more processes than there are cores. Each has engines of its own, and less than half a GB.
# A process that has nothing left to do takes over tests from another; tests that stand beside each other mostly stay
# together, and share what they start. Each begins with long modules: tests/_order.py. Where there is memory to spare, the
# tests' folders are in it: conftest.py.
PYTEST_ARGS ?= --numprocesses 8 --dist worksteal --in-memory
SESSIONS ?= short oldest
ROUTE ?= squashfs
digits: $(VENV)/.digits ## Train a network in a locked environment, by ROUTE=squashfs, pack, apptainer, install or oci; mnist_cnn.pt comes back.
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/digits/routes/$(ROUTE).sh $(ARGS)

engines: $(VENV)/.dev ## Obtain the real engines for the tests: HTCondor, Apptainer and what else tools/engines knows.
	@$(BIN)/wingspan pool install || echo "engines: HTCondor could not be obtained; the tests that need it will say so"
	@for engine in $(wildcard tools/engines/[a-z]*.py); do \
		echo "engines: $$engine"; \
		$(BIN)/python $$engine </dev/null || echo "engines: $$engine did not work; the tests that need it will say so"; \
	done

# Two at once, as most have one process; each says everything at its end.
CHECKS := ruff format mypy imports spelling shell prose
.PHONY: $(CHECKS:%=lint-%)
lint: $(VENV)/.dev ## ruff, mypy --strict, that imports only run downward, spelling, ShellCheck, the pages' English.
	@$(MAKE) --no-print-directory --jobs 2 --keep-going $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) $(CHECKS:%=lint-%)

lint-ruff: check = ruff check
lint-format: check = ruff format --check
lint-mypy: check = mypy
lint-imports: check = lint-imports --no-logo
lint-spelling: check = codespell
lint-shell: check = python tools/lint_shell.py
lint-prose: check = python tools/lint_prose.py
$(CHECKS:%=lint-%):
	@echo "lint: $(check)"; $(BIN)/$(check)

# The tests run whatever the linters say, so that one answer has both; it is good only if both are.
test: $(VENV)/.dev engines ## Everything: engines, linters, the whole test suite.
	@$(MAKE) --no-print-directory lint; lint=$$?; \
	[ $$lint -eq 0 ] || echo "lint: failed, see above"; \
	$(BIN)/python -m pytest $(PYTEST_ARGS) </dev/null; tests=$$?; \
	[ $$tests -ne 0 ] || [ $$lint -eq 0 ] || tests=1; exit $$tests

matrix: $(VENV)/.dev ## What a Python version or an old package can break, on each Python there is; SESSIONS="oldest whole" and the like.
	@$(BIN)/nox --sessions $(SESSIONS)

# COVERAGE_ARGS=--verbose names the lines and branches that none takes.
coverage: $(VENV)/.dev ## Which branches the unit tests take, less than a minute; less than the floor in pyproject.toml is a failure.
	@$(BIN)/python tools/unit_coverage.py $(COVERAGE_ARGS)

allcoverage: $(VENV)/.dev engines ## The whole test suite, and which branches it takes in this process; no floor.
	@$(BIN)/python -m pytest $(PYTEST_ARGS) --cov --cov-report=term </dev/null

pictures: $(VENV)/.dev engines ## The pictures of the docs: what the tests see in a real browser and a terminal, and what the gallery draws.
	@WINGSPAN_PICTURES="$(CURDIR)/docs/pictures" $(BIN)/python -m pytest -q tests/views/test_pages.py tests/test_gallery.py tests/test_recording.py </dev/null

types: $(VENV)/.dev ## How much of the public surface has known types.
	@$(BIN)/python tools/type_completeness.py --verbose

SEED ?= 1
ROUNDS ?= 100
# FAULTS_ARGS: --pool, --what, --only, --disk, --minutes (see --help).
faults: $(VENV)/.dev engines ## Random faults on maps and runs: SEED=1 ROUNDS=100, a JSON line each; a round comes again with --first NUMBER.
	@PYTHONPATH=tests $(BIN)/python -m faults --seed $(SEED) --rounds $(ROUNDS) $(FAULTS_ARGS)

benchmark: $(VENV)/.dev ## Measure this machine: maps, the personal pool, environments. Some minutes; JSON.
	@for what in "maps.py start" "maps.py local" "maps.py personal" personal_pool.py "environments.py --json"; do \
		echo "benchmarks/$$what"; $(BIN)/python benchmarks/$$what || exit 1; \
	done

release: $(VENV)/.dev ## Version, changelog, commit, tag and packages: VERSION=0.2.0; RELEASE_ARGS="--address https://HOST/OWNER/NAME" once.
	@$(BIN)/python tools/release.py $(VERSION) $(RELEASE_ARGS)

format: $(VENV)/.dev ## Put the source into ruff's form.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

constraints: $(VENV)/.dev ## Choose new versions of everything, for all Pythons and platforms at once.
	@$(PIP) uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --upgrade --all-extras --group dev --group demo \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-package wingspan \
		--output-file tools/constraints.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --upgrade --group peers \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file tools/peers.txt

clean: ## Remove what was built here; the user's cache and maps stay.
	rm -rf $(VENV) .nox build dist demo-output .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find src tests tools examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

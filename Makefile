# Two commands for a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test test-fast test-all lint types spark check dist audit sbom bench lock clean

help: ## This list.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "make %-10s %s\n", $$1, $$2 }'

demo: $(VENV)/.demo ## From nothing to a served product, with flights of 2013.
	@$(BIN)/decant demo || [ $$? -eq 130 ]

# On two cores three processes, since tests wait a third of their time (tests/conftest.py).
# A process that is done takes over tests of another, from the end: what a module shares is made once, at most twice.
# Bytecode is kept in any case: each process that a test starts would compile all of Decant again.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n auto --dist worksteal

test: $(VENV)/.dev ## Tests of all kinds, without what takes long.
	$(PYTEST) -m "not slow"

test-fast: $(VENV)/.dev ## Tests that need no database and no process.
	$(PYTEST) -m "unit and not slow"

test-all: $(VENV)/.dev ## Every test.
	$(PYTEST)

# Large, and needed by a few tests only, which are skipped without it.
spark: $(VENV)/.dev ## What the tests of Spark need, beside Java 17.
	$(BIN)/python -m pip install -q --disable-pip-version-check "pyspark[connect]>=4"

lint: $(VENV)/.dev ## Style and layers.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev ## Types.
	$(BIN)/mypy

check: $(VENV)/.dev ## Contracts, reports, OpenAPI document and migrations, held together.
	$(BIN)/decant contract lint contracts
	$(BIN)/decant report lint demo/reports
	$(BIN)/decant openapi --check
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && \
		DECANT_HOME=$$home $(BIN)/decant migrate --no-revise >/dev/null && echo "The migrations fit the contracts."

# The wheel is built from the source archive, so that neither can lack what the other has.
dist: $(VENV)/.dev ## A source archive and a wheel, in dist/.
	rm -rf dist
	@$(BIN)/python -c "from setuptools import build_meta; build_meta.build_sdist('dist')" >/dev/null
	@$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation --no-index -w dist dist/*.tar.gz
	@ls dist

# Whether a pinned dependency has a known weakness; asks the advisory database of PyPI.
audit: $(VENV)/.dev ## Known weaknesses of pinned packages; needs the network.
	$(PYTHON) -m venv $(VENV)-audit && $(VENV)-audit/bin/pip install -q pip-audit
	$(VENV)-audit/bin/pip-audit --disable-pip --require-hashes -r requirements.lock

# What the lock file installs, with versions and hashes, as CycloneDX has it: the same lock gives the same bytes.
SBOM := build/sbom.cdx.json
sbom: $(VENV)/.dev ## A bill of materials of what the lock file installs.
	@mkdir -p $(dir $(SBOM))
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --sv 1.6 --of JSON -o $(SBOM) requirements.lock

bench: $(VENV)/.dev ## Loads and requests, measured against others.
	$(BIN)/python -m bench

$(VENV)/.demo: requirements.lock pyproject.toml
	@sh scripts/install.sh $(PYTHON) $(VENV) requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml
	@sh scripts/install.sh $(PYTHON) $(VENV) requirements-dev.lock
	@touch $@ $(VENV)/.demo

# Hashes, and no address of any index or download.
LOCK := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --no-annotate --extra demo --extra charts --extra kafka --extra nats --extra avro --extra notify \
	--extra build pyproject.toml
# rfc3987-syntax, where it is installed, has jsonschema build a grammar each time it is imported: three seconds.
lock: ## Pins again what pyproject.toml asks for; needs uv.
	$(LOCK) --extra dev --no-emit-package rfc3987-syntax --no-emit-package lark -o requirements-dev.lock
	$(LOCK) -c requirements-dev.lock --no-emit-package pandas --no-emit-package numpy -o requirements.lock

clean: ## Removes what these commands made.
	rm -rf $(VENV) $(VENV)-audit .decant build dist *.egg-info

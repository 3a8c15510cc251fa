# Two commands for a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types check audit sbom bench lock clean

demo: $(VENV)/.demo
	@$(BIN)/decant demo || [ $$? -eq 130 ]

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

# What the contracts decide and what is committed must agree.
check: $(VENV)/.dev
	$(BIN)/decant contract lint contracts
	$(BIN)/decant openapi --check
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && \
		DECANT_HOME=$$home $(BIN)/decant migrate --no-revise >/dev/null && echo "The migrations fit the contracts."

# Whether a pinned dependency has a known weakness; asks the advisory database of PyPI.
audit: $(VENV)/.dev
	$(PYTHON) -m venv $(VENV)-audit && $(VENV)-audit/bin/pip install -q pip-audit
	$(VENV)-audit/bin/pip-audit --disable-pip --require-hashes -r requirements.lock

# What the lock file installs, with versions and hashes, as CycloneDX has it: the same lock gives the same bytes.
SBOM := build/sbom.cdx.json
sbom: $(VENV)/.dev
	@mkdir -p $(dir $(SBOM))
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --sv 1.6 --of JSON -o $(SBOM) requirements.lock

bench: $(VENV)/.dev
	$(BIN)/python -m bench

$(VENV)/.demo: requirements.lock pyproject.toml
	@sh scripts/install.sh $(PYTHON) $(VENV) requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml
	@sh scripts/install.sh $(PYTHON) $(VENV) requirements-dev.lock
	@touch $@ $(VENV)/.demo

# Hashes, and no address of any index or download.
LOCK := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --no-annotate --extra demo --extra build pyproject.toml
lock:
	$(LOCK) --extra dev -o requirements-dev.lock
	$(LOCK) -c requirements-dev.lock --no-emit-package pandas --no-emit-package numpy -o requirements.lock

clean:
	rm -rf $(VENV) $(VENV)-audit .decant build *.egg-info

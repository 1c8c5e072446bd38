# Everything sets itself up: needed are Python 3.11 or 3.12 (`make PYTHON=…` to choose), make and git.
# `.venv` is made once; the stamp files in it say for which lock.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEVELOP := $(VENV)/.develop
BROWSER = $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The locks are complete and hashed: nothing is left to resolve, and Python compiles what it imports.
INSTALL := $(PIP) install --require-hashes --no-deps --no-compile
# Every process of the platform imports a thousand modules: without bytecode on disk each compiles them anew.
unexport PYTHONDONTWRITEBYTECODE
CODE := signal_assets resources jobs sensors services cli benchmarks tests

.DEFAULT_GOAL := help
.PHONY: help demo up test test-fast faults lint format bench ui-test clean lock browser

help:  ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(RUNTIME)  ## the whole path on a simulated venue: summary, report.html, exit 0
	$(BIN)/signals demo

up: $(RUNTIME)  ## platform, live lane and Dagster UI on 127.0.0.1:3000, until Ctrl-C
	$(BIN)/signals up

test: $(DEVELOP)  ## every test but those in the browser (ui-test), with line coverage
	@mkdir -p artifacts
	$(BIN)/python -m pytest -m "alone and not browser" --cov --cov-report=
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not alone and not browser" --cov --cov-append --cov-report=term \
		--cov-report=xml:artifacts/coverage.xml

test-fast: $(DEVELOP)  ## what takes seconds
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow and not alone and not browser"

N ?= 20
faults: $(DEVELOP)  ## N random fault plans against the whole platform (make faults N=5 SEED=1)
	$(BIN)/python -m tests.faults --plans $(N) $(if $(SEED),--seed $(SEED))

lint: $(DEVELOP)  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(DEVELOP)  ## let ruff lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEVELOP)  ## latencies, throughput, CPU and memory, printed
	$(BIN)/python -m benchmarks

ui-test: $(DEVELOP) browser  ## Dagster's pages and our report in real Chromium
	@mkdir -p artifacts
	$(BIN)/python -m pytest tests/browser

clean:  ## caches and results; neither .venv nor .signal
	rm -rf artifacts build dist htmlcov report.html .coverage .coverage.* *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# Hashes of every platform's files, no addresses: a lock says what, not from where.
COMPILE := --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-strip-extras \
	--allow-unsafe --no-header --quiet
lock: $(VENV)/.python  ## resolve pyproject.toml anew (to upgrade: make lock LOCK=--upgrade)
	$(PIP) install pip-tools
	$(BIN)/pip-compile $(COMPILE) $(LOCK) --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile $(COMPILE) $(LOCK) --extra develop --output-file requirements-develop.lock pyproject.toml

browser:
	@if [ -z "$(BROWSER)" ] && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "installing chromium"; apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	elif [ -z "$(BROWSER)" ]; then \
		echo "no Chromium here: tests that need one are left out (Debian: apt-get install chromium)"; \
	fi

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
		|| { echo "Python 3.11 or 3.12 is needed, $(PYTHON) is another: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

# The checkout itself is put on the path, and `signals` beside the other commands: nothing to build.
define LINK
import pathlib, sysconfig
here = pathlib.Path.cwd()
pathlib.Path(sysconfig.get_path("purelib"), "signal_assets_checkout.pth").write_text(f"{here}\n")
command = here / "$(BIN)" / "signals"
command.write_text(f"#!{here}/$(BIN)/python\nfrom cli.main import main\n\nmain()\n")
command.chmod(0o755)
endef
export LINK

$(RUNTIME): requirements.lock $(VENV)/.python
	@echo "installing what the lock names, once"
	$(INSTALL) -r requirements.lock
	@$(BIN)/python -c "$$LINK"
	@touch $@

$(DEVELOP): requirements-develop.lock $(VENV)/.python
	@echo "installing what the lock names, tests and checks included, once"
	$(INSTALL) -r requirements-develop.lock
	@$(BIN)/python -c "$$LINK"
	@touch $@ $(RUNTIME)

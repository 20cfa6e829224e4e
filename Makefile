# make demo   from a bare machine with Python 3.11 or newer to a delivered request
# make test   style, types, layers, the tests
# make help   the rest
#
# Everything is installed in .venv, what npm has in .stand, nothing elsewhere. Remove these folders
# to begin anew.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
BENCH := .bench-venv
NODE := .stand/node
BABEL := .stand/flask-babel
# What has a long form, but for Celery and the crash tests, which are long by themselves.
LONG := tests/security tests/integration tests/browser tests/system --ignore=tests/system/test_celery.py
SERVE ?= 1
PYTEST_ARGS ?=
ROUNDS ?= 5

# `python3` if it is new enough, else the newest that has a name of its own.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& command -v "$$name" && break; done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help bench coverage demo test lint layers format unit integration celery long mutants browser servers node-servers docs \
	messages pictures release requirements settings shape signatures system types versions wheel clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

demo: $(VENV)/.demo ## run the example: a denied merge, the delivered request, the site (SERVE=0: no site)
	$(BIN)/python -m example_app.demo $(if $(filter 0 no false,$(SERVE)),--no-serve)

test: $(VENV)/.test ## the check: lint, then all tests but those of whole systems (JOBS=1: one by one; PYTEST_ARGS="-k outbox": some)
	$(BIN)/python -m tests.check --lint $(PYTEST_ARGS)

system: $(VENV)/.test $(BABEL)/.installed ## the package in whole systems: wheel, tutorial, application and mail servers, Celery, other extensions
	$(BIN)/python -m tests.check tests/system $(PYTEST_ARGS)

coverage: $(VENV)/.test ## the tests of `make test`, and which lines none of them ran
	$(BIN)/python -m tests.check --cov $(PYTEST_ARGS)

bench: $(BENCH)/.installed ## ours and others side by side, into docs/ (ONLY=wire,drain: some; ROUNDS=1 QUICK=1: a look; FULL=1: more)
	$(BENCH)/bin/python -m benchmarks --rounds $(ROUNDS) $(if $(QUICK),--quick) $(if $(FULL),--full) \
		$(if $(ONLY),--only $(ONLY)) $(if $(QUICK),,--write)

# import-linter's cache does not notice modules that are new, so it is not used.
lint: $(VENV)/.test ## style, formatting, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# It looks for packages where `python` has them.
types: $(VENV)/.test $(VENV)/.types ## whether every public name has a type that is known without guessing
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH="$(CURDIR)" pyright --verifytypes flask_interaction_mail --ignoreexternal

layers: $(VENV)/.test ## the direction of imports only
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.test ## mend what can be mended without thinking
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

unit: $(VENV)/.test ## the tests that need no server
	$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

integration: $(VENV)/.test ## the tests with real servers and databases
	$(BIN)/python -m pytest tests/integration $(PYTEST_ARGS)

celery: $(VENV)/.test ## the tests with Celery at full length: 10,000 messages, killed workers, broker restarts
	FIM_LONG=1 $(BIN)/python -m pytest tests/system/test_celery.py -s --show-capture=no $(PYTEST_ARGS)

mutants: $(VENV)/.test ## take each guard of security away and see that a test notices (ONLY="T7 T9": some)
	$(BIN)/python -m tests.security.mutants $(ONLY)

browser: $(VENV)/.test ## the tests in Chromium
	$(BIN)/python -m pytest tests/browser $(PYTEST_ARGS)

long: $(VENV)/.test $(BABEL)/.installed ## what `make test` shortens, at full length, but for `make celery` and `make torture`
	FIM_LONG=1 $(BIN)/python -m tests.check $(LONG) $(PYTEST_ARGS)

torture: $(VENV)/.test ## the crash tests in full, half an hour; writes docs/torture-result.md
	FIM_LONG=1 $(BIN)/python -m pytest tests/crash $(PYTEST_ARGS)

versions: $(VENV)/.versions ## some tests with the lowest, the latest and the coming packages, on each Python of this machine
	$(BIN)/nox $(NOX_ARGS)

servers: $(VENV)/.test node-servers ## eleven real mail servers, compared; writes docs/servers.md (ONLY=postfix,haraka: some)
	$(BIN)/python -m tests.servers.stand $(if $(ONLY),--only $(ONLY),--write)

node-servers: $(NODE)/.installed ## fetch the mail servers that npm has; without npm: nothing

docs: $(VENV)/.docs ## the documentation, docs/_build/html/index.html
	$(BIN)/python docs/llms.py
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

pictures: $(VENV)/.test ## take the pictures of the panel in the docs: the demo in Chromium (ONLY=outbox: some)
	$(BIN)/python docs/pictures.py $(ONLY)

requirements: $(VENV)/.test ## write docs/requirements.md from the names of the tests
	$(BIN)/python docs/requirements.py

settings: $(VENV)/.test ## write the table of docs/settings.md from the settings
	$(BIN)/python docs/settings.py

messages: $(VENV)/.test ## collect the texts, bring the catalogues up to date and compile them
	$(BIN)/python docs/messages.py

signatures: $(VENV)/.test ## write docs/signatures.md from the source
	$(BIN)/python docs/signatures.py

shape: $(VENV)/.test ## the package in figures: modules, chains, circles, sizes; draws its layers and tables for the docs
	$(BIN)/python docs/shape.py --write
	$(BIN)/python docs/tables.py --write

wheel: $(VENV)/.test ## build the distribution into dist/
	rm -rf build  # what an earlier build left would be shipped again
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

release: $(VENV)/.release ## date the changes, tag, build and check; uploads nothing (VERSION=1.2.3; DRY=1: leave no commit and tag)
	$(BIN)/python .ci/release.py $(VERSION) $(if $(DRY),--dry-run)

clean: ## remove what was installed and built
	rm -rf $(VENV) $(BENCH) .bench-earlier .nox .stand .demo build dist docs/_build htmlcov .coverage .coverage.*

$(VENV)/.made:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or newer with its venv module is needed (Debian: apt install python3 python3-venv)." >&2; \
		echo "Another one is chosen by: make PYTHON=/path/to/python3.12 ..." >&2; \
		exit 1; \
	fi
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The peers have an environment of their own, so that no host is measured with them.
$(BENCH)/.installed: setup.cfg pyproject.toml benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --editable . -r benchmarks/requirements.txt
	@touch $@

$(NODE)/.installed: tests/servers/stand/npm/package.json tests/servers/stand/npm/package-lock.json
	mkdir -p $(NODE) && cp $^ $(NODE)
	if command -v npm >/dev/null; then npm ci --prefix $(NODE) --omit=optional --no-audit --no-fund; fi
	@touch $@

# Only installed, it breaks Flask-Admin's pages, so it is where a test finds it that asks for it.
$(BABEL)/.installed: setup.cfg | $(VENV)/.test
	$(BIN)/python -m pip install --quiet --upgrade --target $(BABEL) --no-deps "Flask-Babel>=4.0" pytz
	@touch $@

# A stamp is newer than what it was made from, so a second run installs nothing.
$(VENV)/.%: $(VENV)/.made setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	@touch $@

.SECONDARY:

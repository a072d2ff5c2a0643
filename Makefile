# Needs Python 3.11 or newer with venv, and make. `make demo` and `make test` do the rest.
# Without make: CONTRIBUTING.md has the same commands to type by hand.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11 python,\
    $(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
UV ?= $(firstword $(wildcard .venv/bin/uv) uv)
BIN := .venv/bin
# More for pytest, for example: make test ARGS="-k readme"
ARGS ?=

.PHONY: demo test lint bench soak mutants fuzz differential api audit lint-deploy client-freqtrade peers screenshots lock clean

demo: .venv/.installed
	$(BIN)/klinehub demo

# A file's tests stay on one core: what they share is made once.
test: lint .venv/.s3
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 2 --dist loadscope $(ARGS)

lint: .venv/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: .venv/.installed
	$(BIN)/klinehub bench

# Half an hour of two cores, more or less; SEEDS=1..100 for less.
SEEDS ?= 1..1000
soak: .venv/.installed
	$(BIN)/klinehub sim soak --seeds $(SEEDS) --json

mutants: .venv/.installed
	$(BIN)/python -m tests.sim.mutants

# Ten million inputs for the wire decoders, about eight minutes on two cores; make fuzz INPUTS=200000 SEED=7
fuzz: .venv/.installed
	$(BIN)/python -m tests.fuzz.run --inputs $(or $(INPUTS),10000000) --seed $(or $(SEED),1)

# What the OpenAPI document promises, put to a served hub: 5,000 cases, about a minute.
api: .venv/.installed
	$(BIN)/python -m tests.sim.api_cases --cases $(or $(CASES),5000) --seed $(or $(SEED),1)

# Asks a service of known vulnerabilities about every locked package; red where one was not answered for, and
# where there is no such service. Writes build/sbom.cdx.json.
audit: .venv/.installed .venv/.tools
	$(BIN)/python -m tests.audit --with .venv/tools/bin/pip-audit

lint-deploy: .venv/.installed .venv/.tools
	$(BIN)/python -m tests.lint_deploy --with .venv/tools/bin

.venv/.tools: .venv/.installed .ci/tools.lock
	$(BIN)/python -m venv .venv/tools
	.venv/tools/bin/python -m pip install --require-hashes --only-binary :all: -r .ci/tools.lock
	@touch $@

# The server of objects that the tests start: what it needs does not go with what klinehub has.
.venv/.s3: .venv/.installed .ci/s3.lock
	$(BIN)/python -m venv .venv/s3
	.venv/s3/bin/python -m pip install --require-hashes --only-binary :all: -r .ci/s3.lock
	@touch $@

# A dry run of freqtrade on a hub over a hundred closes, about eleven minutes; see tests/freqtrade/README.md.
client-freqtrade: .venv/.installed .venv-freqtrade/.installed
	$(BIN)/python -m tests.freqtrade.run $(ARGS)

.venv-freqtrade/.installed: tests/freqtrade/requirements.txt
	$(PYTHON) -m venv .venv-freqtrade
	.venv-freqtrade/bin/python -m pip install -r tests/freqtrade/requirements.txt
	@touch $@

# klinehub and others on the same work, in turns; writes the tables of docs/performance.md. See benchmarks/peers/README.md.
peers: .venv-peers/.installed
	.venv-peers/bin/python -m benchmarks.peers $(or $(ARGS),--page docs/performance.md)

.venv-peers/.installed: benchmarks/peers/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install -r benchmarks/peers/requirements.txt -e .
	@touch $@

# A stamp, so that the environment is only made anew when what it is made from has changed.
.venv/.installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "klinehub needs Python 3.11 or newer: install it, or say where it is: make PYTHON=..."; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	@touch $@

# The pictures of docs/images, anew; needs a Chromium, and a font with Chinese letters.
screenshots: .venv/.installed
	$(BIN)/python -m tests.browser.screenshots docs/images

# Needs uv; only for who changes a dependency.
lock:
	$(UV) pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-annotate --output-file requirements.lock
	$(UV) pip compile pyproject.toml --extra all --group build --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-annotate --constraint requirements.lock \
	    --output-file deploy/requirements.lock
	$(UV) pip compile .ci/tools.in --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-annotate --output-file .ci/tools.lock
	$(UV) pip compile .ci/s3.in --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-annotate --output-file .ci/s3.lock

# The hub against the exchange: so many random requests, valid and not, put to both.
differential: .venv/.installed
	DIFFERENTIAL=$(or $(REQUESTS),10000) $(BIN)/pytest -q tests/sim/test_differential.py

clean:
	rm -rf .venv .venv-freqtrade .venv-peers .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

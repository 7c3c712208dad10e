# make demo   set up, build the demo corpus, embed it, train, evaluate, compare; with QUICK=1 less of everything
# make test   set up, then every check: lint, format, types, import layers, tests
# make docs   set up, and build the documentation in site/ (to search it: python3 -m http.server -d site)
# make test-full   the same, and the tests with networks of the published sizes (a minute more)
#
# Tests run in WORKERS processes, each of which needs about 2 GB of memory.
#
# PyTorch comes first, so that nothing pulls another build of it. For a certain build, say so:
#   make demo TORCH="torch==2.9.1 --index-url https://…/whl/cu128"
PYTHON ?= python3
TORCH ?= torch==2.13.0
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-full setup browser lint types layers docs proto pytest dist clean

demo: $(VENV)/.demo
	$(BIN)/python -m scripts.demo $(if $(QUICK),--quick) $(DEMO)

# Types and documents are checked while the tests run, which often wait. Each of the two keeps only one core busy.
test: setup browser lint layers
	$(MAKE) --no-print-directory --jobs=3 pytest types docs

lint types layers pytest: setup

test-full: test
	$(BIN)/pytest -m full_size

setup: $(VENV)/.dev

$(VENV)/.torch: Makefile
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "eno needs Python 3.11 or newer; name one with make PYTHON=…")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -c 'from importlib.metadata import version; print("torch==" + version("torch"))' > $(VENV)/torch.txt
	touch $@

# The demo needs far less than the tests.
$(VENV)/.demo $(VENV)/.dev: $(VENV)/.torch pyproject.toml scripts/repair_torchaudio.py
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/torch.txt --editable ".[$(subst .,,$(notdir $@))]"
	$(BIN)/python scripts/repair_torchaudio.py
	touch $@

# Tests of pages need a browser. Where it cannot be installed they are skipped, and say so.
browser:
	command -v chromium > /dev/null || command -v google-chrome > /dev/null || { test "$$(id -u)" = 0 && apt-get update -qq && \
		apt-get install -qq --no-install-recommends chromium > /dev/null; } || echo "No Chromium: tests of pages are skipped."

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

layers:
	$(BIN)/lint-imports

# Without network. Dead links and missing references are errors.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

# The source distribution and the wheel, in dist/.
dist: setup
	$(BIN)/python -m build --no-isolation --outdir dist

proto:
	$(BIN)/python -m grpc_tools.protoc --proto_path=eno/data/lute --descriptor_set_out=eno/data/lute/lute.binpb lute.proto

pytest:
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile $(PYTEST)

clean:
	rm -rf $(VENV) build dist site *.egg-info

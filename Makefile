# Everything here works on a bare machine with Python >= 3.11 and, the first time, a package index.
#
#   make demo        the whole system at work on this machine
#   make test        every check and every test
#   make test-fast   the tests that need neither servers nor worker processes
#   make bench       what a verified user costs, beside the same job as a tutorial would do it
#   make chaos       faults at batches in flight, checked against the truth (SEED=7 USERS=10000)
#   make check       formatting, lint, types, layers, dependencies
#   make lock        resolve the dependencies anew
#   make clean       remove what was built, keep nothing else's state
#   make help        this list
#
# `make PYTHON=/path/to/python` chooses the interpreter.

SHELL := /bin/sh
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
BIN := .venv/bin

# How the lists of pinned packages are made. `make lock UPGRADE=1` takes newer versions.
COMPILE = .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	$(if $(UPGRADE),--upgrade,) pyproject.toml
LOCAL_EXTRAS = --extra embedded --extra sandbox --extra camara --extra generic

# Prints nothing when the command is content, and everything it said when it is not.
quietly = out=$$($(1) 2>&1) || { printf '%s\n' "$$out"; echo "make: failed: $(1)" >&2; exit 1; }

.PHONY: demo test test-fast bench chaos check lock clean help local dev

demo: local
	@$(BIN)/verifier demo

# The checks run beside the tests, which wait more than they reckon.
test: dev
	@$(MAKE) check & checks=$$!; \
	$(BIN)/python -m pytest -n 4 --dist worksteal; tests=$$?; \
	wait $$checks || { echo 'make: the checks failed, see above' >&2; exit 1; }; \
	exit $$tests

test-fast: dev
	@$(BIN)/python -m pytest -m 'not slow and not servers' --hypothesis-profile=fast -n 3 --dist worksteal \
		$(foreach folder,cli contract local sandbox workers,--ignore=tests/$(folder))

bench: dev
	@$(BIN)/python -m benchmarks $(if $(SCALE),--scale $(SCALE))

# Every fault at a batch of its own, some minutes in all. ONLY="kill-worker storm" tries those alone.
chaos: dev
	@$(BIN)/python -m tests.chaos --users $(or $(USERS),10000) --seed $(or $(SEED),1) $(addprefix --only ,$(ONLY))

check: dev
	@$(call quietly,$(BIN)/ruff format --check .)
	@$(call quietly,$(BIN)/ruff check .)
	@$(call quietly,$(BIN)/mypy)
	@$(call quietly,$(BIN)/lint-imports)
	@$(call quietly,$(BIN)/deptry .)
	@echo 'check: formatting, lint, types, layers and dependencies are in order'

# The environment is judged by the content of the lock files, not by their dates, and two makes at
# once take turns: see the script. It does nothing, and needs no network, when all is in place.
local dev:
	@for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14 python); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			exec "$$python" tools/environment.py $@ $(if $(PYTHON),--exactly); \
		fi; \
	done; \
	echo 'make: no Python 3.11 or newer was found. Install one, or: make PYTHON=/path/to/python' >&2; \
	exit 1

lock: local
	@test -x .venv-lock/bin/uv || { $(BIN)/python -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv; }
	$(COMPILE) requirements/build.in --output-file requirements/production.txt
	$(COMPILE) requirements/build.in $(LOCAL_EXTRAS) --output-file requirements/local.txt
	$(COMPILE) $(LOCAL_EXTRAS) --extra dev --output-file requirements/dev.txt

help:
	@sed -n 's/^#   make/make/p' $(firstword $(MAKEFILE_LIST))

clean:
	rm -rf .venv .venv-lock .venv.lock build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

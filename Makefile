# Everything a user or a pipeline starts. `make` alone lists the targets.

PYTHON ?= python3
DURATION ?= 10
ARGS ?=
SOAK ?=
BIN := .venv/bin
RUNTIME := .venv/.installed-runtime
DEV := .venv/.installed-dev

# Runs of this checkout stay in this checkout.
export AGORA_HOME := $(CURDIR)/var

# pip says what it installs only when it fails; --no-compile leaves 80 MB of byte code unwritten. What the commands
# import is then written once, so that no first start waits for it, also where Python is told not to write any.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --no-compile

.DEFAULT_GOAL := help
.PHONY: help run market test bench soak docs lock clean python-is-usable

help: ## list the targets
	@echo 'Targets (settings: PYTHON=python3.12, DURATION=minutes, ARGS="more flags"):'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-12s %s\n' "$$name" "$$text"; done

run: $(RUNTIME) ## an autonomous run of DURATION minutes on a testnet that it starts, then verify it
	@status=0; verdict=0; \
	$(BIN)/agora run --duration '$(DURATION)' $(ARGS) || status=$$?; \
	case $$status in 2|3) exit $$status;; esac; \
	$(BIN)/agora verify latest || verdict=$$?; \
	if [ $$status -ne 0 ]; then exit $$status; fi; exit $$verdict

market: $(RUNTIME) ## a market of agents with its API on 127.0.0.1:8000, until Ctrl+C
	@$(BIN)/agora market $(ARGS)

test: $(DEV) ## format, lint, types, tests: what the pipeline runs
	@$(call step,format,$(BIN)/ruff format --check .)
	@$(call step,lint,$(BIN)/ruff check .)
	@$(call step,types,$(BIN)/mypy)
	@rm -rf var/gate
	@$(call step,tests,AGORA_TEST_FIGURES=$(CURDIR)/var/gate $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS))
	@$(if $(ARGS),,$(call step,figures,$(BIN)/python tools/reliability.py take gate var/gate))

bench: $(RUNTIME) ## measure the figures that the documents quote
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(DEV) ## the long survival proofs (10,000 seeds, 300 SIGKILLs, a million fuzzed inputs): hours; SOAK="--seeds 500"
	$(BIN)/python -m tests.bitunix.soak $(SOAK)
	$(BIN)/python tools/reliability.py take soak var/soak

docs: $(RUNTIME) ## regenerate docs/reference.md and docs/traceability.md
	$(BIN)/python tools/docs.py

lock: ## bring the locks in line with requirements*.in (needs uv; the only target that does)
	@command -v uv >/dev/null || { echo 'make lock needs uv on the PATH' >&2; exit 1; }
	$(call resolve,requirements)
	$(call resolve,requirements-dev)

clean: ## remove the environment and all caches; runs in var/runs stay
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist var/cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# The environment is made anew when a lock changes, so that nothing of an older lock remains in it.
$(RUNTIME): requirements.lock | python-is-usable
	@echo '== environment: .venv from requirements.lock'
	@rm -rf .venv
	@'$(PYTHON)' -m venv .venv || { echo 'could not make .venv: on Debian and Ubuntu, apt install python3-venv' >&2; rm -rf .venv; exit 1; }
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --no-index -e .
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import agora.launch, agora.market_launch, agora.cli.serving, agora.bitunix_assembly, agora.testnet.bitunix'
	@PYTHONDONTWRITEBYTECODE= $(BIN)/agora --help >/dev/null
	@touch $@

$(DEV): $(RUNTIME) requirements-dev.lock
	@if [ -f $@ ]; then rm -rf .venv && $(MAKE) --no-print-directory $(RUNTIME); fi
	@echo '== environment: .venv from requirements-dev.lock'
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

# numba 0.61 has no build for Python 3.14: say so here instead of failing in a compiler's output.
python-is-usable:
	@command -v '$(PYTHON)' >/dev/null || { echo "no '$(PYTHON)' on this machine: install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "Agora needs Python 3.11, 3.12 or 3.13; $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12" % v)'

define step
echo '== $(1)'; began=$$(date +%s); $(2) || { echo '== $(1): failed' >&2; exit 1; }; echo "== $(1): good, $$(( $$(date +%s) - began )) s"
endef

define resolve
uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' $(1).in --output-file $(1).lock
endef

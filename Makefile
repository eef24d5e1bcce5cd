# Three commands for a bare checkout, each of which installs what it needs once. `make search`
# searches, `make check` takes three minutes before a commit, `make test` checks everything.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
WORKERS = 2
RUN = $(VENV)/bin/python
# WORKERS processes, of which one that crashed would run its test again. On two CPUs two are twice
# as fast as one. Slow tests often wait, for a Ray to start or to end, and fill three.
# Bytecode is kept, whatever the environment says: each of the many processes would compile it anew.
TESTS = env -u PYTHONDONTWRITEBYTECODE $(RUN) -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder --max-worker-restart 0

.PHONY: search check test lint audit browser network clean

search: $(VENV)/.installed
	@$(RUN) tune_vgg6.py search --data auto --trials auto $(ARGS)

check: lint
	$(TESTS) -m "not slow" $(ARGS)

test: WORKERS = 3
test: lint browser network
	@$(RUN) .ci/audit.py
	$(TESTS) --durations=25 $(ARGS)

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(if $(wildcard .importlinter),$(VENV)/bin/lint-imports)

# Known vulnerabilities of the pinned packages fail this, and are shown by `make test`.
audit: $(VENV)/.installed-dev
	$(RUN) .ci/audit.py --strict

# What Debian has and pip has not. Installed where one may; else the tests that need it are skipped,
# and say so: $(call debian,TEST THAT IT IS THERE,PACKAGE,WHAT IS SKIPPED)
define debian
	@$(1) || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends $(2) >/dev/null; } || \
		echo "no $(2): the $(3) will be skipped"
endef

browser:
	$(call debian,command -v chromium >/dev/null || command -v google-chrome >/dev/null,chromium,report's browser tests)

# Hosts of a network are made as namespaces, which needs root and `ip`.
network:
	$(call debian,command -v ip >/dev/null,iproute2,tests over several hosts)

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 to 3.13 is needed: make PYTHON=python3.11")'
	@echo "installing into $(VENV): torch is large, this takes a few minutes once"
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache

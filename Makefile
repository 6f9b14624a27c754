# Everything a person does with a checkout. Nothing here needs more than Python 3.11, make and bash; see `make help`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-clean test fuzz lint fix bench soak install uninstall lock event clean

PREFIX ?= /usr/local
UNITDIR ?= $(PREFIX)/lib/systemd/system
PYTEST_ARGS ?=
TEST_JOBS ?= 2
TIMES ?= 50
BENCH_ARGS ?=
SOAK_ARGS ?=

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: ## prepare everything and show the main job (root; touches only .venv and .demo)
	@.ci/demo

demo-clean: ## delete what the demo left for its next run (.demo)
	@.ci/demo clean

test: ## prepare .venv, then linters, types, import rules and every test
	@.ci/prepare dev
	@.ci/busybox >/dev/null || echo "lading: without a static busybox the tests that need a base image are skipped"
	@.ci/registry >/dev/null || echo "lading: without docker-registry the tests of pull and push against it are skipped"
	@status=0; $(MAKE) --no-print-directory lint || status=1; \
	PATH="$$PWD/.venv/bin:$$PATH" .venv/bin/python -m pytest -q -m "" -n $(TEST_JOBS) --dist loadfile $(PYTEST_ARGS) || status=1; exit $$status

fuzz: ## the tests of laws with TIMES=50 times as many examples, other ones each time (an hour or two)
	@.ci/prepare dev
	@PATH="$$PWD/.venv/bin:$$PATH" LADING_TEST_EXAMPLES=$(TIMES) .venv/bin/python -m pytest -v -m hypothesis -n $(TEST_JOBS) \
	  --dist loadfile $(PYTEST_ARGS)

lint: ## ruff, mypy, import rules
	@.ci/prepare dev
	@.venv/bin/ruff check --quiet . && echo "ruff: clean"
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache --no-logo

fix: ## let ruff repair what it can
	@.ci/prepare dev
	@.venv/bin/ruff check --fix .

bench: ## measure start, life and throughput of containers (root)
	@.ci/prepare runtime
	@.ci/busybox >/dev/null
	@PATH="$$PWD/.venv/bin:$$PATH" .venv/bin/python -m bench $(BENCH_ARGS)

soak: ## do the same small things for some minutes and look for what was lost (root; SOAK_ARGS='--minutes 60')
	@.ci/prepare dev
	@.ci/busybox >/dev/null
	@PATH="$$PWD/.venv/bin:$$PATH" .venv/bin/python -m tests.soak $(SOAK_ARGS)

install: ## install below PREFIX (default /usr/local): lading, ladingd, a private environment, a systemd unit
	@PREFIX="$(PREFIX)" UNITDIR="$(UNITDIR)" .ci/install

uninstall: ## undo install; the data root stays
	@PREFIX="$(PREFIX)" UNITDIR="$(UNITDIR)" .ci/install undo

lock: ## write the lock files anew with the newest versions
	@.ci/lock

event: ## record the shape of a new event: make event NAME=paused.v1
	@.ci/prepare dev
	@.venv/bin/python -m tests.house.stored_events $(NAME)

clean: demo-clean ## delete everything that was made here
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

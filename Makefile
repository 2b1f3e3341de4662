# `make` lists what there is. Everything sets up what it needs by itself (.ci/setup).
SHELL := /bin/bash
# The loop and the tests of it need root: mounts, network namespaces, cgroups.
ROOT := $(shell [ "$$(id -u)" = 0 ] || echo "sudo --preserve-env=CI,HOME,PATH")
BIN := .venv/bin
PYTEST := $(ROOT) env PATH="$(CURDIR)/$(BIN):/usr/sbin:/sbin:$$PATH" PYTHONDONTWRITEBYTECODE=1 $(BIN)/python -m pytest -p no:cacheprovider

.DEFAULT_GOAL := help
.PHONY: help setup run image down test lint unit e2e dockerfiles bench dashboards screenshot format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what running and testing need
	@.ci/setup test

image: ## build the image of the example, from busybox, with our own builder
	@.ci/setup run
	@mkdir -p .build/web && cp manifests/web/image/Dockerfile .build/web/ && cp "$$(command -v busybox)" .build/web/busybox
	$(ROOT) $(BIN)/reconciler build -t localhost/web:1 .build/web

run: image ## run the example: two Deployments, a ConfigMap and a Secret, on http://127.0.0.1:8080/
	@printf '\n  In another terminal:  curl http://127.0.0.1:8080/\n  Edit manifests/web/ and watch it follow. Ctrl-C stops watching; `make down` removes what runs.\n\n'
	$(ROOT) $(BIN)/reconciler watch manifests/web

down: ## remove what `make run` left running
	$(ROOT) $(BIN)/reconciler down

lint: ## ruff, mypy --strict, import-linter
	@.ci/setup test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases dashboards tests/bench tests/house tests/conftest.py
	$(BIN)/lint-imports

test: lint ## lint, then every test (as root)
	@status=0; \
	$(PYTEST) -q -n 2 tests/unit tests/property tests/house || status=1; \
	$(PYTEST) -q --durations=15 tests/contract tests/e2e || status=1; \
	exit $$status

unit: ## the tests that need no root
	@.ci/setup test
	$(BIN)/python -m pytest -q -n 2 tests/unit tests/property

e2e: ## the tests on the real kernel (as root)
	@.ci/setup test
	$(PYTEST) tests/contract tests/e2e

dockerfiles: ## build and run everyday Dockerfiles on bases made of Debian's packages (as root; needs the network)
	@.ci/setup test
	$(PYTEST) -q --durations=5 tests/dockerfiles

bench: ## measure the budgets beside the floor, and docker and podman where they work (as root)
	@.ci/setup test
	$(ROOT) $(BIN)/python -m tests.bench

dashboards: ## write dashboards/*.json again from their code
	@.ci/setup test
	$(BIN)/python dashboards/overview.py

screenshot: image ## make docs/watch.svg again, from the real thing
	$(ROOT) docs/screenshot

format: ## ruff's formatting and fixes
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean: ## remove what was built here
	rm -rf .build .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis tests/artifacts

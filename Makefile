# Every target sets up what it needs first and skips that when nothing changed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup serve test test-all check bench

HOST ?= 127.0.0.1
PORT ?= 8080
PYTEST_ARGS ?=
export HOST PORT

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1 - /p' Makefile

setup: ## make .venv with what the server needs
	@scripts/setup

serve: setup ## start the server; HOST and PORT choose where (http://127.0.0.1:8080)
	@exec .venv/bin/python fada.py serve --host "$(HOST)" --port "$(PORT)"

test: ## does it work here? (installs what the tests need, system packages included)
	@scripts/setup dev train
	@scripts/test $(PYTEST_ARGS)

test-all: ## every test but those for a GPU: long calls, full grids, parity, several processes
	@scripts/setup dev train
	@scripts/test --all $(PYTEST_ARGS)

check: ## ruff format, ruff, mypy; the page's types where Node is at hand
	@scripts/setup dev train
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	scripts/check_page

bench: setup ## measure this machine: kernels, engine, end to end; writes bench/results
	@.venv/bin/python fada.py bench kernels
	@.venv/bin/python fada.py bench engine
	@.venv/bin/python fada.py bench e2e

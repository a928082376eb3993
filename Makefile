# `make help` lists the targets. Needed: Python 3.11 or newer, make, a shell and a package index.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv/bin
PY := $(VENV)/python
SAM := .local/sam-venv/bin/sam
AUDIT := .local/audit-venv/bin
# Builds and templates are checked without an AWS account; the SAM CLI wants some region all the same.
REGION := $(or $(AWS_REGION),$(AWS_DEFAULT_REGION),us-east-1)

ENV ?= prod
SUB ?= demo
SCOPES ?=
FUNCTION ?=
QUEUE ?=
ID ?=
ALL ?=
PARAMETERS ?=
CANARY ?= Canary10Percent10Minutes
PARTS ?=
TICKS ?=
REDIS_URL ?=
SEEDS ?= 5000
CHAOS_SEED ?= 1
CHAOS_SECONDS ?= 180
CHAOS_STORE ?=
LOAD_SECONDS ?= 600
LOAD_PORTFOLIOS ?= 1000
LOAD_SYMBOLS ?= 500
LOAD_TICKS ?= 200
LOAD_FILLS ?= 20
LOAD_SOCKETS ?= 200
LOAD_SHARDS ?= 4
FUZZ_TIMES ?= 5
FUZZ_SEED ?= 1
FILE ?=
ADJUSTED ?=

export PYTHONDONTWRITEBYTECODE := 1
export SAM_CLI_TELEMETRY := 0

.PHONY: help env env-all up down demo bridge import-history rebuild-hot dlq-list dlq-show dlq-replay status logs token test lint format types template page pictures deploy-page unit contract \
	property infra simulation simulate integration e2e fuzz fuzz-env streams chaos load bench compare-metrics figures audit audit-env lock build deploy clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9 -]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: ## make the developer's environment (.venv)
	@$(PYTHON) -m local.environments dev

env-all:
	@$(PYTHON) -m local.environments

audit-env:
	@$(PYTHON) -m local.environments audit

fuzz-env:
	@$(PYTHON) -m local.environments fuzz

up: env-all ## start the cloud on this machine, or bring it up to date; prints addresses and a token
	@$(PY) -m local up

down: env ## stop everything that was started, also after a crash
	@$(PY) -m local down

bridge: env ## take the ticks of a Redis channel to the local cloud (REDIS_URL=redis://..., default: its own Valkey)
	@$(if $(REDIS_URL),PORTFOLIO_REDIS_URL="$(REDIS_URL)") $(PY) -m local bridge

import-history: env ## give daily closes to the local cloud: make import-history FILE=closes.csv (ADJUSTED=1: for splits)
	@$(PY) -m local import-history "$(FILE)" $(if $(ADJUSTED),--adjusted)

status: env ## say whether the cloud runs, where, how fresh its figures are and what waits
	@$(PY) -m local status

logs: env ## print what the functions wrote: make logs FUNCTION=push
	@$(PY) -m local logs --function "$(FUNCTION)"

rebuild-hot: env ## make the hot store again from the ledger, while everything runs (prices as of the last sweep)
	@$(PY) -m local rebuild-hot

dlq-list: env ## dead letters of the local cloud: how many, how old
	@$(PY) -m local dlq-list

dlq-show: env ## what they say: make dlq-show QUEUE=fills (ID=...)
	@$(PY) -m local dlq-show "$(QUEUE)" $(foreach id,$(ID),--id "$(id)")

dlq-replay: env ## work with them again: make dlq-replay QUEUE=fills ID=... (or ALL=1)
	@$(PY) -m local dlq-replay "$(QUEUE)" $(foreach id,$(ID),--id "$(id)") $(if $(ALL),--all)

demo: env-all ## everything, with sample accounts and real prices in a live view (DEMO_SECONDS=20 ends by itself)
	@$(PY) -m local demo

token: env ## print a token: make token SUB=alice SCOPES="prices:write admin"
	@$(PY) -m local token --sub "$(SUB)" --scopes "$(SCOPES)"

# The tests stop their clouds themselves; this is for the run that is killed. Its output must not follow pytest's.
STOP_ALL_TEST_CLOUDS = for home in .local/test-*; do FOLIOSTREAM_HOME=$$home $(PY) -m local down >/dev/null; done
STOP_TEST_CLOUDS = if [ -z "$${FOLIOSTREAM_KEEP:-}" ]; then $(STOP_ALL_TEST_CLOUDS); fi

test: lint types template page audit ## everything: style, types, template, known vulnerabilities, all tests, against the real emulator and Valkey
	@trap '$(STOP_TEST_CLOUDS)' EXIT; $(PY) -m pytest tests

lint: env audit-env ## style: ruff check and format; weaknesses in what is deployed: bandit
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(AUDIT)/bandit --quiet --recursive --configfile pyproject.toml layers/foliostream functions

format: env ## put files in the common format, and mend what can be mended by itself
	@$(VENV)/ruff check --fix .
	@$(VENV)/ruff format .

types: env ## mypy, strict
	@$(VENV)/mypy

# The house rules are for what SAM makes of the template, which uses parameters that nothing else does (W2001, W7001).
template: env-all audit-env ## cfn-lint, the house rules, sam validate and checkov
	@$(VENV)/cfn-lint template.yaml
	@.local/sam-venv/bin/python -m local.expand Canary=$(CANARY) < template.yaml > .local/expanded.json
	@PYTHONPATH=layers/foliostream/python $(VENV)/cfn-lint --append-rules rules --ignore-checks W2001 W7001 -- .local/expanded.json
	@AWS_DEFAULT_REGION=$(REGION) $(SAM) validate --lint
	@sed '/^    Condition: /d' template.yaml >.local/unconditional.yaml
	@$(AUDIT)/checkov --config-file .checkov.yaml

# It can turn red over night. What cannot be found out is said and is no failure: `make test` works without a network.
audit: env ## look the deployed packages up among known vulnerabilities (asks pypi.org)
	@$(PY) -m local.audit $(LAYER_LOCKS:%=requirements/%.txt)

deploy-page: env ## build the page and put it where a stack with Page=cloudfront serves it: make deploy-page ENV=prod
	@$(PY) -m local.page_upload "$(ENV)"

pictures: env ## take the README's pictures of the page: while `make demo` runs in another terminal
	@$(PY) -m local.pictures

page: env ## the dashboard: types, tests and build (needs Node 20)
	@$(PY) -m local.page

unit contract property infra simulation integration e2e: env-all ## only the tests of this kind
	@trap '$(STOP_TEST_CLOUDS)' EXIT; $(PY) -m pytest tests/$@

simulate: env ## storms on virtual time over the real use cases: make simulate SEEDS=5000
	@PYTHONPATH=layers/foliostream/python:. $(PY) -m tests.simulation --seeds $(SEEDS)

# What is made up, by name of the seed: the deployed handlers in one process, then the deployed system.
fuzz: env-all fuzz-env ## made-up input for every function, the REST API and the WebSocket: make fuzz FUZZ_SEED=2 FUZZ_TIMES=5
	@trap '$(STOP_TEST_CLOUDS)' EXIT; FUZZ_TIMES=$(FUZZ_TIMES) FUZZ_SEED=$(FUZZ_SEED) $(PY) -m pytest \
	  --hypothesis-seed=$(FUZZ_SEED) --timeout=1800 --durations=5 tests/property/test_fuzzed_inputs.py tests/e2e/test_fuzz.py

streams: env-all ## 500 clients that watch 200 portfolios, drop and come back: STREAM_CLIENTS= STREAM_PORTFOLIOS= STREAM_SECONDS=
	@trap '$(STOP_TEST_CLOUDS)' EXIT; STREAM_CLIENTS=$(or $(STREAM_CLIENTS),500) STREAM_PORTFOLIOS=$(or $(STREAM_PORTFOLIOS),200) \
	  STREAM_SECONDS=$(or $(STREAM_SECONDS),60) $(PY) -m pytest tests/e2e/test_streams.py -k valkey

chaos: env-all ## minutes of faults between the functions and AWS: CHAOS_SEED= CHAOS_SECONDS= CHAOS_STORE=valkey|dynamodb
	@trap '$(STOP_TEST_CLOUDS)' EXIT; PYTHONPATH=layers/foliostream/python:client/src:. $(PY) -m tests.chaos \
	  --seed $(CHAOS_SEED) --seconds $(CHAOS_SECONDS) $(if $(CHAOS_STORE),--store $(CHAOS_STORE))

load: env-all ## ten minutes of load, every portfolio compared: LOAD_SECONDS= _PORTFOLIOS= _SYMBOLS= _TICKS= _FILLS= _SOCKETS=
	@trap 'FOLIOSTREAM_HOME=.local/load $(PY) -m local down >/dev/null' EXIT; \
	  PYTHONPATH=layers/foliostream/python:client/src:. $(PY) -m benchmarks.load --seconds $(LOAD_SECONDS) \
	  --portfolios $(LOAD_PORTFOLIOS) --symbols $(LOAD_SYMBOLS) --ticks $(LOAD_TICKS) --fills $(LOAD_FILLS) --sockets $(LOAD_SOCKETS) \
	  --shards $(LOAD_SHARDS)

# Its servers stop by themselves; this is for the run that is killed.
bench: env-all ## measure speed, latency and cost, writes .local/bench.json: make bench PARTS="cost ticks" TICKS=FILE
	@trap 'FOLIOSTREAM_HOME=.local/bench $(PY) -m local down >/dev/null' EXIT; $(PY) -m benchmarks $(PARTS) $(if $(TICKS),--ticks "$(TICKS)")

compare-metrics: ## the metrics and analytics beside independent libraries: make compare-metrics FILE=closes.csv
	@$(PYTHON) -m local.environments compare
	@PYTHONPATH=layers/foliostream/python .local/compare-venv/bin/python -W ignore -m benchmarks.compare_metrics $(if $(FILE),"$(FILE)")

figures: env ## bring the measured figures of docs/scale.md up to date from .local/bench.json
	@$(PY) -m benchmarks.figures

# The layers come first: the developer's environment takes their versions.
LAYER_LOCKS := layer-dependencies layer-rest layer-authorizer layer-metrics layer-broker
LOCKS := $(LAYER_LOCKS) dev cloud sam lock compare audit fuzz
lock: ## write the lock files anew (UPGRADE=1: with the newest versions)
	@$(PYTHON) -m local.environments lock
	@for name in $(LOCKS); do \
	  .local/lock-venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) \
	    --override requirements/overrides.txt requirements/$$name.in --output-file requirements/$$name.txt; \
	done

build: env-all ## sam build for AWS: python3.13 on arm64
	@find functions -name __pycache__ -type d -prune -exec rm -rf {} +
	@AWS_DEFAULT_REGION=$(REGION) $(SAM) build

deploy: export FOLIOSTREAM_PARAMETERS = Canary=$(CANARY) $(PARAMETERS)
deploy: build ## deploy to AWS: make deploy ENV=prod PARAMETERS="JwtIssuer=https://... JwtAudience=..." (kept later)
	@$(SAM) deploy --config-env $(ENV) --parameter-overrides Canary=$(CANARY) $(PARAMETERS)
	@$(PY) -m local.protect $(ENV)

clean: ## stop the clouds and remove everything that was made, environments included
	@if [ -d .local ]; then $(MAKE) --no-print-directory down; $(STOP_ALL_TEST_CLOUDS); fi
	@rm -rf .venv .local .aws-sam .hypothesis

# A thin front: every target is one command, and `make` alone lists them. ARGS="…" is passed on where a command takes options.
.DEFAULT_GOAL := help
BIN := .venv/bin
ARGS ?=
# Tests wait for processes, and those for the disk: two cores have room for three.
WORKERS ?= 3
# Tests start hundreds of processes; without bytecode, each of them and each worker would compile every module again.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: ## install the locked dependencies and the project into .venv
	@sh scripts/setup.sh

.PHONY: installed
installed: ## install only what the program needs to run into .venv
	@sh scripts/setup.sh running

.PHONY: demo
demo: installed ## send Stripe traffic to a local server (ARGS="--events 2000 --json")
	@$(BIN)/billing demo $(ARGS)

.PHONY: serve
serve: installed ## run the HTTP server (ARGS="--port 8080")
	@$(BIN)/billing serve $(ARGS)

.PHONY: worker
worker: installed ## run a worker that processes stored events
	@$(BIN)/billing worker $(ARGS)

.PHONY: stripe-setup
stripe-setup: installed ## set up a Stripe account and this folder (ARGS="--webhook-url https://billing.example.com")
	@$(BIN)/billing stripe setup $(ARGS)

.PHONY: stripe-replay
stripe-replay: installed ## process stored events again (ARGS="--tenant acme --dry-run")
	@$(BIN)/billing events replay $(ARGS)

.PHONY: dev-up
dev-up: installed ## start the local Postgres and Valkey
	@$(BIN)/billing embedded start $(ARGS)

.PHONY: dev-down
dev-down: installed ## stop the local Postgres and Valkey
	@$(BIN)/billing embedded stop $(ARGS)

.PHONY: test
test: setup ## run all tests that need no browser (ARGS="-k webhook"), as many files at a time as WORKERS
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: e2e
e2e: setup ## run the tests of the page in a real browser (ARGS="--screenshots docs/billing/images")
	@$(BIN)/python -m pytest tests/e2e $(ARGS)

.PHONY: ops
ops: setup ## check alerts, routes and the dashboard with promtool, Prometheus and amtool
	@$(BIN)/python -m pytest tests/ops $(ARGS)

.PHONY: test-stripe
test-stripe: setup ## run the tests of webhook ingestion, replay, the event stream and the Stripe fixtures
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile -m stripe $(ARGS)

.PHONY: lint
lint: setup ## check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: lint-stripe-fixtures
lint-stripe-fixtures: setup ## check the Stripe events that the tests read
	@$(BIN)/python -m billing_stripe.testing.fixtures lint

.PHONY: stripe-fixtures
stripe-fixtures: setup ## write the Stripe events that the tests read
	@$(BIN)/python -m billing_stripe.testing.fixtures write

.PHONY: docs
docs: setup ## regenerate the documentation that is generated from the code
	@$(BIN)/python -m billing_app.settings_reference
	@$(BIN)/python -m billing_app.troubleshooting.reference
	@$(BIN)/python -m billing_app.access_reference
	@$(BIN)/python -m billing_app.entitlements_reference
	@$(BIN)/python -m billing_app.payload_schema
	@$(BIN)/python -m billing_app.http.openapi
	@$(BIN)/python -m billing_stripe.events_reference
	@$(BIN)/python -m billing_telemetry.reference
	@$(BIN)/python -m scripts.example_messages
	@$(BIN)/python -m scripts.embedding_page
	@$(BIN)/python -m scripts.alerts_page
	@$(BIN)/python -m scripts.dashboard
	@$(BIN)/python -m scripts.api_reference
	@$(BIN)/python -m scripts.diagrams

.PHONY: docs-site
docs-site: setup ## build the documentation site into site/ and check its links (read it: python -m http.server -d site)
	@$(BIN)/python -m scripts.docs_site

.PHONY: types
types: setup ## check types
	@$(BIN)/mypy

.PHONY: imports
imports: setup ## check the import rules
	@$(BIN)/lint-imports

.PHONY: lock
lock: setup ## update uv.lock and the requirements files after a change of dependencies
	@$(BIN)/nox --session lock -- --write

.PHONY: build
build: setup ## build the wheel and the sdist into dist/ and test the wheel in an empty environment
	@$(BIN)/nox --session build

.PHONY: clean
clean: ## remove build output and caches; .venv and the data in .billing stay
	@rm -rf dist build .nox .ops-tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

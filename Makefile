# Ekiben: `make help` lists the targets; `make demo` and `make test` are all that a newcomer needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# The first Python that really runs (a version manager's shim may not) and is new enough.
PYTHON ?= $(shell for python in python3 python3.12 python3.11 python3.13; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
PY ?= .venv/bin/python
export PYTHONPATH := hack

##@ Start here
.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-zA-Z_-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Checks
.venv/installed: requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Ekiben needs Python 3.11 or later: install it, or set PYTHON to it"; exit 1; }
	@echo "==> installing the development environment into .venv"
	@$(PYTHON) -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: venv lint types unit contract integration e2e lowest test verify fmt
venv: .venv/installed ## Install the development environment (locked, by hash)

lint: venv ## Style, import rules, formatting
	.venv/bin/ruff check operator hack tests
	.venv/bin/ruff format --check operator hack tests
	.venv/bin/lint-imports --no-cache

types: venv ## mypy --strict
	.venv/bin/mypy operator hack

fmt: venv ## Format the code
	.venv/bin/ruff check --fix operator hack tests
	.venv/bin/ruff format operator hack tests

unit: venv ## Unit tests: pure, a few seconds
	$(PY) -m pytest tests/unit -q

contract: venv tools ## What others rely on: CRD and CEL on a real API server, manifests, chart, lint of texts
	$(PY) -m pytest tests/contract -q

integration: venv tools ## The operator in-process against a real etcd and kube-apiserver
	$(PY) -m pytest tests/integration -q --ignore tests/integration/test_chaos.py

e2e: venv tools keda-tools images ## Everything on a real cluster: kubelet, containerd, Traefik, BentoML pods
	$(PY) -m pytest tests/e2e -q

lowest: venv ## The unit tests with the oldest dependencies that pyproject.toml allows
	@hack/lowest

test: venv ## Prove it: lint, types, unit, contract, integration, e2e
	@hack/test

.PHONY: chaos soak
chaos: venv tools ## Rounds of faults under every rule: make chaos [SEED=1] [FAULTS=10000]
	PYTHONPATH=hack:tests $(PY) -m chaos $(if $(SEED),--seed $(SEED)) --faults $(or $(FAULTS),10000)

soak: venv tools ## Half an hour of churn and faults, in which nothing may grow: make soak [SEED=1] [MINUTES=30]
	PYTHONPATH=hack:tests $(PY) -m chaos $(if $(SEED),--seed $(SEED)) --soak $(or $(MINUTES),30)

verify: venv ## Fail when a generated file is stale
	$(PY) -m ekiben.api.crd --check
	$(PY) -m ekiben.api.admission --check
	$(PY) -m ekiben.docs --check
	$(PY) -m ekiben.cli.docs --check
	@cmp crds/modeldeployments.yaml charts/ekiben/files/modeldeployments.yaml \
	  && cmp crds/modelanalyses.yaml charts/ekiben/files/modelanalyses.yaml \
	  || { echo "the chart's CRD is stale: run make generate"; exit 1; }

##@ Generated files
.PHONY: generate lock
generate: venv ## Write the CRD and the reference tables from the models
	$(PY) -m ekiben.api.crd
	$(PY) -m ekiben.api.admission
	$(PY) -m ekiben.docs
	$(PY) -m ekiben.cli.docs
	cp crds/modeldeployments.yaml crds/modelanalyses.yaml charts/ekiben/files/

lock: venv ## Pin the dependencies anew, by hash and without index lines
	.venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  pyproject.toml -o requirements/operator.txt
	.venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --resolution lowest-direct pyproject.toml -o requirements/lowest.txt
	.venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra dev pyproject.toml -o requirements/dev.txt
	.venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --group audit -o requirements/audit.txt

##@ Real parts
-include hack/cluster.mk
-include hack/images.mk
-include hack/supply.mk

##@ See it
.PHONY: demo bench bench-scale bench-judges costs clean
demo: venv tools images ## Serve, canary, promote and roll back a real model on a real cluster
	$(PY) -m demo

bench: venv tools images ## Measure what the README claims, each against its floor
	$(PY) -m bench

costs: venv tools ## Compare what a model costs with hack/scale/gate.json
	$(PY) -m scale --gate

bench-scale: venv tools ## Measure what a fleet costs: MODELS=100, 1000 (default) or 5000
	$(PY) -m scale $(if $(filter 100,$(MODELS)),--quick,$(if $(MODELS),--models $(MODELS)))

bench-judges: venv ## Prove the statistics: canaries by chance, healthy and bad (docs/analysis.md)
	$(PY) -m judges

clean: ## Remove what the targets made in this folder
	rm -rf .venv .local build .pytest_cache .mypy_cache .ruff_cache .hypothesis

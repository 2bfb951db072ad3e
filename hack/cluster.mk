# The local cluster's targets. BACKEND is local (the default), kind or existing: see docs/localcluster.md.
BACKEND ?= $(or $(EKIBEN_BACKEND),local)
export EKIBEN_BACKEND := $(BACKEND)
CLUSTER := $(PY) -m localcluster

.PHONY: tools keda-tools cluster-up cluster-keda cluster-down cluster-status cluster-load
tools: venv ## Build the pinned Go tools that are not in the cache yet (minutes, once per machine)
	@$(CLUSTER) tools build kubernetes helm >/dev/null

keda-tools: venv
	@$(CLUSTER) tools build keda-operator keda-adapter keda-webhooks prometheus >/dev/null

cluster-keda: venv ## Install KEDA and a Prometheus into the running cluster (minutes of building, once)
	@$(CLUSTER) keda

cluster-up: venv ## Bring a real Kubernetes up on this machine (about 10 s once the tools are built)
	@$(CLUSTER) up

cluster-down: venv ## Take it down and leave the machine as it was
	@$(CLUSTER) down

cluster-status: venv ## Say part by part whether it works
	@$(CLUSTER) status

cluster-load: venv ## Load an image archive: make cluster-load IMAGE=thing.tar
	@test -n "$(IMAGE)" || { echo "name the archive: make cluster-load IMAGE=thing.tar"; exit 2; }
	@$(CLUSTER) load $(IMAGE)

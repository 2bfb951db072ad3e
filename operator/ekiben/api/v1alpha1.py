"""What a user writes: `ModelDeployment.spec` of ekiben.dev/v1alpha1; its parts are beside this module.

Defaults stand here only outside lists (inside an item they are permanent drift for Argo CD) and never under a
field that a revision hashes; the other defaults are in `ekiben.core`, and in the field's description.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ekiben.api.fields import ApiModel, OptionalSubdomain, keyed_by, rules
from ekiben.api.judging import Analysis
from ekiben.api.pod import Bento, EnvVar, LocalObject, PodTemplate, Resources, Runtime
from ekiben.api.rollout import Rollout
from ekiben.api.rules import model as say
from ekiben.api.scaling import Autoscaling, PodDisruptionBudget
from ekiben.api.traffic import Traffic

GROUP = "ekiben.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ModelDeployment"
PLURAL = "modeldeployments"

DEFAULT_REPLICAS = 2

# What makes a revision; the rest may change without another pod.
HASHED_FIELDS = (
    "bento",
    "runtime",
    "resources",
    "env",
    "service_account_name",
    "image_pull_secrets",
    "pod_template",
)


class Spec(ApiModel):
    """What is to be served, and how a change of it is rolled out."""

    model_config = rules(
        say.RUNTIME_NEEDS_SERVICE,
        say.BOUNDS_NEED_SERVICE,
        say.LATENCY_NEEDS_SERVICE,
        say.STEPS_NEED_TRAFFIC,
        say.SHRINKING_NEEDS_TRAFFIC,
        say.SHRINKING_OR_AUTOSCALING,
        say.PREVIEW_NEEDS_TRAFFIC,
        say.PREVIEW_DIFFERS,
        say.RECREATE_COMPARES_NOTHING,
        say.BLUE_GREEN_HAS_NO_OTHER_SIDE,
        say.BAKE_NEEDS_BOTH,
    )

    bento: Bento
    runtime: Runtime | None = None
    resources: Resources | None = None
    env: Annotated[
        tuple[EnvVar, ...] | None,
        Field(
            max_length=100,
            description="Environment variables of the bento container.",
            json_schema_extra=keyed_by("name"),
        ),
    ] = None
    service_account_name: Annotated[
        OptionalSubdomain | None, Field(description="ServiceAccount of the pods. Default: the namespace's.")
    ] = None
    image_pull_secrets: Annotated[
        tuple[LocalObject, ...] | None,
        Field(
            max_length=16,
            description="Secrets for the image's registry.",
            json_schema_extra=keyed_by("name"),
        ),
    ] = None
    pod_template: PodTemplate | None = None
    # A default here, though not hashed: reading /scale fails on an object without replicas.
    replicas: Annotated[int, Field(ge=1, le=10000, description="Pods; ignored with autoscaling.")] = (
        DEFAULT_REPLICAS
    )
    autoscaling: Autoscaling | None = None
    pod_disruption_budget: PodDisruptionBudget = PodDisruptionBudget()
    traffic: Traffic | None = None
    rollout: Rollout = Rollout()
    analysis: Analysis = Analysis()

    @property
    def scaled(self) -> Autoscaling | None:
        """How an autoscaler of ours is to size the pods; None where nobody does, or others do."""
        block = self.autoscaling
        return block if block and block.engine not in ("external", "none") else None


def parse_spec(raw: dict[str, Any]) -> Spec:
    """Parse a raw `.spec`; raises pydantic.ValidationError."""
    return Spec.model_validate(raw)

"""Render every child of a ModelDeployment: pure functions from the model and one decision to a manifest."""

from ekiben.core.render.activator import build_activator_slice
from ekiben.core.render.autoscaler import build_autoscaler
from ekiben.core.render.config_copy import build_config_copy
from ekiben.core.render.deployment import TEMPLATES, build_deployment
from ekiben.core.render.disruption_budget import build_disruption_budget
from ekiben.core.render.job import build_job
from ekiben.core.render.preview import build_preview
from ekiben.core.render.record import build_record
from ekiben.core.render.route import build_route
from ekiben.core.render.scale_target import ScaleTarget
from ekiben.core.render.scaled_object import build_scaled_object, build_trigger_authentication
from ekiben.core.render.service import build_service

__all__ = [
    "TEMPLATES",
    "ScaleTarget",
    "build_activator_slice",
    "build_autoscaler",
    "build_config_copy",
    "build_deployment",
    "build_disruption_budget",
    "build_job",
    "build_preview",
    "build_record",
    "build_route",
    "build_scaled_object",
    "build_service",
    "build_trigger_authentication",
]

"""The way in to a new revision before any traffic goes to it: hosts of its own, through the same Gateways."""

from __future__ import annotations

from ekiben.api.v1alpha1 import Spec
from ekiben.core import names
from ekiben.core.snapshot import Manifest, Ref
from ekiben.core.traffic import route_problem
from ekiben.core.view import View


def preview_hostnames(spec: Spec) -> tuple[str, ...]:
    """Return the hosts for which the new revision answers; none where the spec asks for no preview."""
    rules = spec.rollout.blue_green
    if rules is None or spec.traffic is None or spec.rollout.strategy != "BlueGreen":
        return ()
    return rules.preview_hostnames


def preview_ref(view: View) -> Ref:
    """Name the preview's HTTPRoute."""
    return Ref("HTTPRoute", names.preview_route(view.model.name))


def live_preview(view: View) -> Manifest | None:
    """Return the preview's HTTPRoute as it is."""
    return view.live.get(preview_ref(view))


def is_preview_due(view: View) -> bool:
    """Tell whether the preview's HTTPRoute should be there: nobody else answers in its place."""
    if not preview_hostnames(view.spec) or not view.snapshot.cluster.gateway_api:
        return False
    return live_preview(view) is not None or not view.snapshot.cluster.preview_claims


def preview_problem(view: View) -> tuple[str, str] | None:
    """Return the reason and the sentence for a preview that is asked for and can't be reached."""
    if not preview_hostnames(view.spec):
        return None
    if claims := view.snapshot.cluster.preview_claims:
        claim = claims[0]
        return "HostnameTaken", (
            f"HTTPRoute {claim.namespace}/{claim.name} already answers {claim.hostname}:"
            " choose another host in rollout.blueGreen.previewHostnames"
        )
    live = live_preview(view)
    problem = route_problem(live) if live else "it is not there yet"
    return ("PreviewNotAccepted", f"the preview's route: {problem}") if problem else None

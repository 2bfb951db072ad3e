"""Every condition and reason that a ModelDeployment can show; docs/reference.md is made from it."""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """One reason of one condition, and what it means to the reader."""

    condition: str
    reason: str
    meaning: str


READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"
TRAFFIC_APPLIED, ROLLED_OUT, SETTLED = "TrafficApplied", "RolledOut", "Settled"
SCALING = "Scaling"

CONDITIONS: dict[str, str] = {
    READY: "Stable serves.",
    RECONCILING: "Something is on its way.",
    STALLED: "Nothing more happens until somebody acts.",
    TRAFFIC_APPLIED: "Requests reach the pods as the spec says.",
    SCALING: "The pods are scaled as the spec says; absent where it says nothing of it.",
    ROLLED_OUT: "The last change is what serves; Unknown while it is on its way.",
    SETTLED: "The last change has ended, well or not; Unknown while it is on its way.",
}

REASONS: tuple[Reason, ...] = (
    Reason(READY, "Serving", "At least one pod of stable is ready."),
    Reason(READY, "Starting", "The first pods are on their way."),
    Reason(READY, "NoReadyPods", "Stable had ready pods and has none now."),
    Reason(
        READY,
        "Asleep",
        "It has no pods, by minReplicas 0: the activator holds the next request and wakes it.",
    ),
    Reason(READY, "Waking", "It was asleep, and a pod is on its way."),
    Reason(READY, "ActivatorMissing", "It is asleep, and no activator is there to hold requests."),
    Reason(READY, "Recreating", "Nobody serves, by rollout.strategy Recreate: one goes, the other comes."),
    Reason(RECONCILING, "Idle", "The spec is what serves."),
    Reason(RECONCILING, "Waking", "A model that was asleep gets a pod."),
    Reason(
        RECONCILING, "ActivatorMissing", "minReplicas is 0, but one pod stays: no activator holds requests."
    ),
    Reason(RECONCILING, "FirstRevision", "The first revision gets its pods."),
    Reason(RECONCILING, "Waiting", "The rollout waits for what the message names."),
    Reason(RECONCILING, "Starting", "Pods are starting."),
    Reason(RECONCILING, "Preflight", "The rollout looks for room before it begins."),
    Reason(
        RECONCILING,
        "InsufficientCapacity",
        "Pods are missing, the message says how many: there is no room for the new ones, or the canary's"
        " autoscaler still brings some, and how long requests take does not count until then.",
    ),
    Reason(RECONCILING, "Draining", "Recreate: stable's pods finish their requests and end."),
    Reason(RECONCILING, "Scaling", "The canary gets the pods that the next weight needs."),
    Reason(RECONCILING, "SurgeLimit", "rollout.maxSurge does not leave room for the next weight."),
    Reason(RECONCILING, "WarmingUp", "Pods of the canary answer the calls of rollout.warmup first."),
    Reason(RECONCILING, "Traffic", "The weight is written, and not yet taken over."),
    Reason(RECONCILING, "Analysing", "The canary is judged on the requests it serves."),
    Reason(RECONCILING, "Samples", "The canary has not yet served enough requests to pass."),
    Reason(RECONCILING, "NoSeries", "The query of a check finds no series: see its onNoData."),
    Reason(RECONCILING, "OverLimit", "A check is over its limit, and the evidence is not yet conclusive."),
    Reason(RECONCILING, "PauseStep", "The rollout waits for rollout.resume."),
    Reason(RECONCILING, "NoData", "Too few requests within maxWait; the rollout waits for a hand."),
    Reason(
        RECONCILING,
        "Inconclusive",
        "A check was over its limit when maxWait was over, but not for certain: it waits for a hand.",
    ),
    Reason(RECONCILING, "Paused", "spec.rollout.paused is true."),
    Reason(RECONCILING, "Frozen", "rollout.freeze wants no step now; the message says until when."),
    Reason(RECONCILING, "Queued", "As many rollouts run as may at once; the message says its place."),
    Reason(RECONCILING, "GateShut", "A gate of rollout.gates is shut, or can't be asked; see the message."),
    Reason(RECONCILING, "GateTimeout", "A gate stayed shut for longer than its maxWait."),
    Reason(RECONCILING, "Held", "rollout.initial is Held: the first revision waits for rollout.promote."),
    Reason(RECONCILING, "Promoting", "Traffic goes over to the new revision."),
    Reason(RECONCILING, "Baking", "The new revision serves everything, and is watched for analysis.bake."),
    Reason(
        RECONCILING,
        "NoWayBack",
        "The new revision should be taken back in its bake, and the old one has no ready pod.",
    ),
    Reason(RECONCILING, "Aborting", "Traffic goes back to stable."),
    Reason(RECONCILING, "Retiring", "An old revision still has pods."),
    Reason(RECONCILING, "Unschedulable", "A pod can't be scheduled; the deadline's clock is stopped."),
    Reason(RECONCILING, "KEDANotReady", "The canary needs pods, and KEDA can't use its ScaledObject."),
    Reason(
        RECONCILING, "KEDAPaused", "The canary needs pods, and its ScaledObject is paused by annotations."
    ),
    Reason(RECONCILING, "KEDASilent", "The canary needs pods, and KEDA does not run."),
    Reason(RECONCILING, "ImagePull", "The image can't be pulled; the deadline's clock is stopped."),
    Reason(RECONCILING, "MissingConfig", "A ConfigMap or Secret that is named does not exist."),
    Reason(RECONCILING, "ConfigUnreadable", "A ConfigMap that trackedConfig names can't be read."),
    Reason(RECONCILING, "ConfigNotCopied", "A revision's copy of a tracked ConfigMap can't be made."),
    Reason(RECONCILING, "Quota", "Pods can't be created, for example for a quota."),
    Reason(RECONCILING, "ChildRejected", "The API server rejected a child; its message is shown."),
    Reason(RECONCILING, "MetricsUnreachable", "The pods' /metrics can't be read."),
    Reason(RECONCILING, "ServiceNameMismatch", "bento.service is not what the pods call their service."),
    Reason(RECONCILING, "MetricsTooLarge", "A page of /metrics is larger than 4 MiB."),
    Reason(RECONCILING, "MetricsInvalid", "A page of /metrics can't be understood."),
    Reason(RECONCILING, "CheckError", "A check can't be judged."),
    Reason(STALLED, "Idle", "Nothing is stalled."),
    Reason(STALLED, "InvalidSpec", "The spec can't be understood; what serves goes on serving."),
    Reason(STALLED, "NotAllowed", "The chart's podPolicy does not allow what the pods ask for."),
    Reason(STALLED, "ChildConflict", "Somebody else's object has the name of a child; it is left alone."),
    Reason(STALLED, "TemplateTooNew", "A newer operator made the pods; they are left as they are."),
    Reason(STALLED, "SecretNotImmutable", "A tracked Secret is not immutable, so it may change unnoticed."),
    Reason(STALLED, "SecretForbidden", "A tracked Secret may not be looked at; the message names the Role."),
    Reason(STALLED, "TemplateUnusable", "A ModelAnalysis that the spec names is missing or can't be used."),
    Reason(STALLED, "RolledBack", "The last change failed and was rolled back; stable serves."),
    Reason(STALLED, "Aborted", "The last change was aborted by hand; stable serves."),
    Reason(TRAFFIC_APPLIED, "Accepted", "Every Gateway serves the route."),
    Reason(TRAFFIC_APPLIED, "ServiceOnly", "No Gateway is asked for: the Service splits the traffic."),
    Reason(TRAFFIC_APPLIED, "GatewayAPIMissing", "The Gateway API is not installed in the cluster."),
    Reason(TRAFFIC_APPLIED, "GatewayNotFound", "A Gateway named in traffic.parentRefs does not exist."),
    Reason(TRAFFIC_APPLIED, "GatewayClassNotFound", "The Gateway's class does not exist."),
    Reason(TRAFFIC_APPLIED, "GatewayNotProgrammed", "The Gateway can't serve; its own reason is shown."),
    Reason(TRAFFIC_APPLIED, "HostnameTaken", "Another route already answers this hostname and path."),
    Reason(TRAFFIC_APPLIED, "RouteNotAccepted", "A Gateway has not accepted the route; see the message."),
    Reason(
        TRAFFIC_APPLIED,
        "PreviewNotAccepted",
        "No Gateway serves rollout.blueGreen.previewHostnames; the model's own route is served.",
    ),
    Reason(SCALING, "HPA", "Each revision has a HorizontalPodAutoscaler."),
    Reason(SCALING, "KEDA", "Each revision has a ScaledObject."),
    Reason(SCALING, "External", "autoscaling.engine leaves the pods to others."),
    Reason(SCALING, "Fixed", "autoscaling.engine is none: the pods are `replicas`."),
    Reason(SCALING, "HandingOver", "The scaler of before goes first; the pods stay as many as there are."),
    Reason(SCALING, "ForeignScaler", "Somebody else's autoscaler sizes our pods; it is left alone."),
    Reason(SCALING, "KEDAMissing", "A metric needs KEDA, which is not there: no pod goes."),
    Reason(SCALING, "MetricUnserved", "No engine serves all metrics together: no pod goes."),
    Reason(SCALING, "LatencyAlone", "Only a latency is given, which takes no pod away: no pod goes."),
    Reason(SCALING, "NoMetric", "No metric is given for a model with a GPU: its pods stay as they are."),
    Reason(SCALING, "ScalerRejected", "The API server, or a webhook, refuses the scaler; see its words."),
    Reason(SCALING, "TriggerForbidden", "A trigger is of a type that the chart does not allow: no pod goes."),
    Reason(SCALING, "KEDANotReady", "KEDA can't use the ScaledObject; its own words are shown."),
    Reason(SCALING, "KEDAPaused", "Annotations of the ScaledObject keep KEDA from scaling."),
    Reason(
        SCALING,
        "KEDASilent",
        "KEDA has made no autoscaler of a ScaledObject, or not taken over its bounds, for 60 s: it is down.",
    ),
    Reason(
        SCALING,
        "MetricsUnreadable",
        "An autoscaler can't read a metric: the adapter, metrics-server or KEDA is missing, or down. No pod"
        " goes.",
    ),
    Reason(SCALING, "Fallback", "KEDA can't read a metric: no pod goes."),
    Reason(ROLLED_OUT, "Promoted", "The spec's revision serves."),
    Reason(ROLLED_OUT, "InProgress", "The spec's revision is on its way."),
    Reason(ROLLED_OUT, "RolledBack", "The spec's revision failed; see failedRevisions."),
    Reason(ROLLED_OUT, "Aborted", "The spec's revision was aborted by hand."),
    Reason(ROLLED_OUT, "InvalidSpec", "The spec can't be understood."),
    Reason(ROLLED_OUT, "NotAllowed", "The chart's podPolicy does not allow what the pods ask for."),
    Reason(ROLLED_OUT, "SecretNotImmutable", "A tracked Secret is not immutable."),
    Reason(ROLLED_OUT, "SecretForbidden", "A tracked Secret may not be looked at."),
    Reason(SETTLED, "Promoted", "The last change serves."),
    Reason(SETTLED, "InProgress", "The last change is on its way."),
    Reason(SETTLED, "RolledBack", "The last change was rolled back."),
    Reason(SETTLED, "Aborted", "The last change was aborted by hand."),
    Reason(SETTLED, "InvalidSpec", "The last change can't be understood."),
    Reason(SETTLED, "NotAllowed", "The last change is not allowed by the chart's podPolicy."),
    Reason(SETTLED, "SecretNotImmutable", "A tracked Secret is not immutable."),
    Reason(SETTLED, "SecretForbidden", "A tracked Secret may not be looked at."),
)

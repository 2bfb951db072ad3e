"""Every kind of object that Ekiben talks to the API server about."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object and where the API server keeps it; `plural` is the name in URLs and RBAC rules."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its manifests."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """Build the URL path of the collection, of one object, or of an object's subresource.

        The namespace is left out for cluster-scoped kinds. Without one, the collection spans all namespaces.
        Raises ValueError where the parts name no place: one object of a namespaced kind needs its namespace.
        """
        if name is not None and self.namespaced and not namespace:
            raise ValueError(f"namespace: needed to name the {self.kind} {name!r}")
        if not name and (name is not None or subresource):
            raise ValueError(f"name: needed for one {self.kind} or its subresource")
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(quote(part, safe="") for part in parts)


MODELANALYSIS = Kind("ekiben.dev", "v1alpha1", "ModelAnalysis", "modelanalyses")
MODELDEPLOYMENT = Kind("ekiben.dev", "v1alpha1", "ModelDeployment", "modeldeployments")
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
CONTROLLERREVISION = Kind("apps", "v1", "ControllerRevision", "controllerrevisions")
SERVICE = Kind("", "v1", "Service", "services")
CONFIGMAP = Kind("", "v1", "ConfigMap", "configmaps")
POD = Kind("", "v1", "Pod", "pods")
CONFIGMAP = Kind("", "v1", "ConfigMap", "configmaps")
SECRET = Kind("", "v1", "Secret", "secrets")
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
NODE = Kind("", "v1", "Node", "nodes", namespaced=False)
RESOURCEQUOTA = Kind("", "v1", "ResourceQuota", "resourcequotas")
PRIORITYCLASS = Kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", namespaced=False)
DEVICECLASS = Kind("resource.k8s.io", "v1", "DeviceClass", "deviceclasses", namespaced=False)
HPA = Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
SCALEDOBJECT = Kind("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects")
TRIGGERAUTHENTICATION = Kind("keda.sh", "v1alpha1", "TriggerAuthentication", "triggerauthentications")
PDB = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
HTTPROUTE = Kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")
GATEWAY = Kind("gateway.networking.k8s.io", "v1", "Gateway", "gateways")
GATEWAYCLASS = Kind("gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses", namespaced=False)
ENDPOINTSLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
EVENT = Kind("events.k8s.io", "v1", "Event", "events")
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")
JOB = Kind("batch", "v1", "Job", "jobs")
SUBJECTACCESSREVIEW = Kind(
    "authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False
)
CRD = Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)

KINDS = (
    MODELDEPLOYMENT,
    MODELANALYSIS,
    DEPLOYMENT,
    CONTROLLERREVISION,
    SERVICE,
    CONFIGMAP,
    POD,
    CONFIGMAP,
    SECRET,
    NAMESPACE,
    NODE,
    RESOURCEQUOTA,
    PRIORITYCLASS,
    DEVICECLASS,
    HPA,
    SCALEDOBJECT,
    TRIGGERAUTHENTICATION,
    PDB,
    HTTPROUTE,
    GATEWAY,
    GATEWAYCLASS,
    ENDPOINTSLICE,
    EVENT,
    LEASE,
    JOB,
    CRD,
)
_BY_NAME = {(kind.api_version, kind.kind): kind for kind in KINDS}


def kind_of(api_version: str, kind: str) -> Kind:
    """Look up the kind of a manifest by its `apiVersion` and `kind`; KeyError names what is not known."""
    try:
        return _BY_NAME[api_version, kind]
    except KeyError:
        raise KeyError(f"{api_version} {kind} is no kind that Ekiben handles") from None

"""The rules of the model's pods: env, podTemplate, resources, the config that is tracked."""

from __future__ import annotations

from ekiben.api.fields import cel, matches, one_of

RESERVED_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by")
RESERVED_ENV = ("BENTOML_HOME", "BENTOML_HOST", "BENTOML_PORT", "PORT")
CONFIG_ENV = ("BENTOML_CONFIG_OVERRIDES", "BENTOML_CONFIG_OPTIONS")

TRACKED_ONE_KIND = cel(
    "has(self.configMap) != has(self.secret)",
    "an item of bento.trackedConfig is either configMap or secret: write one item for each object",
)
TRACKED_DIFFER = cel(
    "self.all(a, self.exists_one(b, has(a.configMap) == has(b.configMap)"
    " && (!has(a.configMap) || a.configMap == b.configMap)"
    " && has(a.secret) == has(b.secret) && (!has(a.secret) || a.secret == b.secret)))",
    "bento.trackedConfig must not name an object twice: remove one of the two",
)

REQUESTS_WITHIN_LIMITS = cel(
    "!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits)"
    " || !isQuantity(string(self.requests[k])) || !isQuantity(string(self.limits[k]))"
    " || quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)",
    "resources.requests must not be above resources.limits: lower the request or raise the limit",
)

ENV_ONE_SOURCE = cel(
    "!has(self.value) || !has(self.valueFrom)",
    "env takes either value or valueFrom: remove one of the two",
)
ENV_NOT_CONFIG = cel(
    f"!({one_of('self.name', CONFIG_ENV)})",
    f"env must not set {' or '.join(CONFIG_ENV)}: write it as runtime.overrides",
    ".name",
)
ENV_NOT_RESERVED = cel(
    f"!({one_of('self.name', RESERVED_ENV)})",
    f"env must not set {', '.join(RESERVED_ENV[:-1])} or {RESERVED_ENV[-1]}, which Ekiben sets for probes,"
    " metrics and the read-only root: remove it",
    ".name",
)

LABELS_NOT_RESERVED = cel(
    "!has(self.labels) || self.labels.all(k, !k.startsWith('ekiben.dev/')"
    f" && !({one_of('k', RESERVED_LABELS)}))",
    f"podTemplate.labels must not set ekiben.dev/* or {', '.join(RESERVED_LABELS)}, by which Ekiben finds its"
    " pods: choose other keys",
    ".labels",
)
CONTAINER_NOT_BENTO = cel(
    "self.name != 'bento'",
    "sidecars and initContainers must not be named bento, as the model's container is: choose another name",
    ".name",
)
CONTAINERS_DIFFER = cel(
    "!has(self.sidecars) || !has(self.initContainers)"
    " || self.sidecars.all(s, !self.initContainers.exists(i, i.name == s.name))",
    "podTemplate.sidecars and initContainers must not share a name: rename one of the two",
    ".sidecars",
)
VOLUME_NOT_TMP = cel(
    "self.name != 'tmp'",
    "volumes must not be named tmp, as Ekiben's own is: choose another name",
    ".name",
)
MOUNT_NOT_TMP = cel(
    f"!{matches('^/tmp(/|$)', 'self.mountPath')}",
    "volumeMounts must not be at /tmp or below, where Ekiben mounts a volume of its own: choose another path",
    ".mountPath",
)
MOUNTS_HAVE_VOLUMES = cel(
    "!has(self.volumeMounts) || self.volumeMounts.all(m,"
    " has(self.volumes) && self.volumes.exists(v, v.name == m.name))",
    "podTemplate.volumeMounts must each name a volume of podTemplate.volumes: add the volume",
    ".volumeMounts",
)

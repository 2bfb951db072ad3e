"""What the cluster holds for our models, kept current by watches; and which model each change concerns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from ekiben.activators import Activators
from ekiben.api.selector import matches, parse_selector
from ekiben.concerns import PlaceIndex, gateways_of, is_same, key_of, models_of, sleeps, templates_of
from ekiben.core import names
from ekiben.core.snapshot import Manifest
from ekiben.following import Following, tracked_names
from ekiben.kube.client import Client
from ekiben.kube.kinds import (
    CONFIGMAP,
    CONTROLLERREVISION,
    DEPLOYMENT,
    ENDPOINTSLICE,
    GATEWAY,
    GATEWAYCLASS,
    HPA,
    HTTPROUTE,
    JOB,
    MODELANALYSIS,
    MODELDEPLOYMENT,
    PDB,
    POD,
    SCALEDOBJECT,
    SERVICE,
    TRIGGERAUTHENTICATION,
    Kind,
)
from ekiben.kube.store import Key, OnChange, Store, Trim, parse_version
from ekiben.kube.watches import Watches
from ekiben.observe import Seen
from ekiben.observe_pods import is_coming, trim_pod
from ekiben.observe_routes import places_of_model, places_of_route
from ekiben.observe_scalers import sized_models, wants_keda
from ekiben.ownership import fixed_refs
from ekiben.scaled import ScaledObjects
from ekiben.trims import (
    trim_autoscaler,
    trim_config_map,
    trim_deployment,
    trim_gateway,
    trim_job,
    trim_model,
    trim_status,
)

CHILDREN = (
    *(DEPLOYMENT, SERVICE, HPA, SCALEDOBJECT, TRIGGERAUTHENTICATION),
    *(PDB, HTTPROUTE, CONTROLLERREVISION, CONFIGMAP, JOB, ENDPOINTSLICE),
)
_OURS = f"{names.MANAGED_BY}={names.MANAGER}"
# Kubernetes gives its own slices of a Service the labels of that, so ours need one that tells them apart.
_OUR_SLICES = f"{names.SLICE_MANAGED_BY}={names.SLICE_MANAGER}"


class Caches:
    """One store for models, filled by whoever watches them, and informers for everything else.

    `wake` is called with the key of every model that a change concerns; `wake_soon` where it is a change of a
    child, of which more follow within a moment; `on_model` is told of every change of a model. Models that
    `selector` does not select are another's. `activator` names the activator's Service, as namespace/name;
    with "" there is none.
    """

    def __init__(
        self,
        client: Client,
        namespaces: tuple[str, ...],
        wake: Callable[[Key], None],
        wake_soon: Callable[[Key], None],
        selector: str = "",
        on_model: OnChange = lambda old, new: None,
        keda: bool = False,
        activator: str = "",
    ) -> None:
        required = parse_selector(selector)
        self.models = Store(
            trim=trim_model,
            on_change=self._model_changed,
            wanted=lambda raw: matches(required, raw["metadata"].get("labels")),
        )
        self._selector = selector or None
        self._client = client
        self._namespaces = namespaces or ("",)
        self._wake = wake
        self._wake_soon = wake_soon
        self._on_model = on_model
        self._model_changes = 0
        self._routes = PlaceIndex(places_of_route)
        self._wanted_places = PlaceIndex(places_of_model)
        self._watches = Watches(client)
        self._scalers = PlaceIndex(sized_models)
        self._scaled = ScaledObjects(client, self._namespaces, keda, wake, self._child_changed)
        for kind in (SERVICE, PDB, CONTROLLERREVISION):
            self._inform(kind, self._namespaces, _OURS, trim=trim_status)
        # Those of others too: one that targets a Deployment of ours must be named, and not fought.
        self._inform(HPA, self._namespaces, None, trim=trim_autoscaler, on_change=self._autoscaler_changed)
        self._inform(DEPLOYMENT, self._namespaces, _OURS, trim=trim_deployment)
        self._inform(POD, self._namespaces, _OURS, trim=trim_pod, on_change=self._pod_changed)
        self._inform(JOB, self._namespaces, _OURS, trim=trim_job)
        # One for each model that sleeps, and no others.
        self._inform(ENDPOINTSLICE, self._namespaces, _OUR_SLICES)
        self.activators = (
            Activators(client, activator, self._activators_changed, self._demand_changed)
            if activator
            else None
        )
        if self.activators:
            # Before it is whole every model that sleeps would seem to be without one.
            self._watches.count_in(self.activators.informer)
        self._inform(MODELANALYSIS, self._namespaces, None, on_change=self._template_changed)
        # Copies that we made; of those that models track each is followed by its name.
        self._inform(CONFIGMAP, self._namespaces, _OURS, trim=trim_config_map, metadata_only=True)
        self.following = Following(client, wake)
        # Routes of others too, wherever they are: they may answer where a model wants to.
        self._inform(HTTPROUTE, ("",), None, on_change=self._route_changed)
        # A model may name a Gateway of any namespace.
        self._inform(GATEWAY, ("",), None, trim=trim_gateway, on_change=self._gateway_changed)
        self._inform(GATEWAYCLASS, ("",), None, on_change=self._gateway_class_changed)

    def _inform(
        self,
        kind: Kind,
        namespaces: Iterable[str],
        selector: str | None,
        *,
        trim: Trim | None = None,
        on_change: OnChange | None = None,
        metadata_only: bool = False,
    ) -> None:
        changed = on_change or self._child_changed
        self._watches.add(
            kind, namespaces, selector, trim=trim, on_change=changed, metadata_only=metadata_only
        )

    def start(self) -> None:
        """Begin to watch."""
        self._watches.start()
        if self.activators:
            self.activators.start()

    async def stop(self) -> None:
        """End every watch."""
        await self.following.stop()
        await self._scaled.stop()
        if self.activators:
            await self.activators.stop()
        await self._watches.stop()

    async def synced(self) -> None:
        """Wait until everything was listed once."""
        await self._watches.synced()

    def store(self, kind: Kind, namespace: str) -> Store:
        """Return the store that holds a kind's objects of a namespace."""
        if kind.group == SCALEDOBJECT.group:
            return self._scaled.store(kind, namespace) or Store()
        return self._watches.find(kind, namespace).store

    def is_read(self, key: Key) -> bool:
        """Tell whether what a model names was read, or could not be: ConfigMaps, and what KEDA has of it."""
        return self.following.is_read(key) and self._scaled.is_known(key)

    async def relist_models(self) -> int:
        """Compare the models with a fresh list; return how many changes it brought."""
        before, entries, versions = self._model_changes, [], []
        for namespace in self._namespaces:
            items, version = await self._client.list(MODELDEPLOYMENT, namespace or None, self._selector)
            entries += [entry for item in items if (entry := self.models.prepare(item))]
            versions.append(parse_version(version) or 0)
        # What is newer than the oldest of the lists may have come after it was made.
        self.models.replace(entries, min(versions))
        return self._model_changes - before

    @property
    def model_changes(self) -> int:
        """How many changes of models were seen so far."""
        return self._model_changes

    def model_keys(self) -> list[Key]:
        """Name every model."""
        return [key_of(raw) for raw in self.models.all()]

    def seen(self, key: Key, watches_fresh: bool) -> Seen | None:
        """Gather what is known of one model; None for a model that is gone."""
        namespace, name = key
        model = self.models.get(namespace, name)
        if model is None:
            return None
        gateways, classes = self._watches.find(GATEWAY, "").store, self._watches.find(GATEWAYCLASS, "").store
        return Seen(
            model=model,
            children=tuple(self._children(namespace, name, model["metadata"].get("uid", ""))),
            config=self.following.contents(key),
            pods=tuple(self.store(POD, namespace).by_model(namespace, name)),
            routes=tuple(self._routes.at(places_of_model(model))),
            gateways={key_of(raw): raw for raw in gateways.all()},
            gateway_classes={key_of(raw)[1]: raw for raw in classes.all()},
            templates=dict(self._templates(namespace, model)),
            gateway_api=self.gateway_api(),
            watches_fresh=watches_fresh,
            keda=self._scaled.state(),
            scalers=tuple(self._scalers.at([key])),
            activators=self.activators.addresses if self.activators else None,
            demanded=self.activators is not None and self.activators.demands(key),
        )

    def gateway_api(self) -> bool:
        """Tell whether the server has the Gateway API."""
        return self._watches.find(HTTPROUTE, "").present and self._watches.find(GATEWAY, "").present

    def ages(self) -> dict[str, float]:
        """Return for each kind the seconds since its most silent watch was heard."""
        now = time.monotonic()
        ages = self._watches.ages(now)
        ages[CONFIGMAP.plural] = max(ages[CONFIGMAP.plural], *self.following.ages(now), 0.0)
        return ages

    def problems(self) -> list[str]:
        """Say of each watch that was never whole what is wrong with it."""
        return self._watches.problems()

    def _children(self, namespace: str, name: str, uid: str) -> Iterator[Manifest]:
        """Yield what is the model's, carries its label, or has a name that is to be one of its children's."""
        fixed = fixed_refs(name)
        for kind in CHILDREN:
            store = self.store(kind, namespace)
            found = {key_of(raw): raw for raw in (*store.by_owner(uid), *store.by_model(namespace, name))}
            for ref in fixed:
                if ref.kind == kind.kind and (raw := store.get(namespace, ref.name)) is not None:
                    found[namespace, ref.name] = raw
            yield from found.values()

    def _templates(self, namespace: str, model: Manifest) -> Iterator[tuple[str, Manifest]]:
        """Yield the ModelAnalysis objects that a model names, as far as they exist."""
        store = self.store(MODELANALYSIS, namespace)
        for name in templates_of(model):
            if (raw := store.get(namespace, name)) is not None:
                yield name, raw

    def _template_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        if old is not None and new is not None and is_same(old, new):
            return
        namespace, name = key_of(new or old or {})
        for model in self.models.all():
            if key_of(model)[0] == namespace and name in templates_of(model):
                self._wake(key_of(model))

    def _model_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        self._model_changes += 1
        self._wanted_places.change(old, new)
        self._on_model(old, new)
        self.following.ensure(key_of(new or old or {}), tracked_names(new) if new else ())
        self._ensure_keda(key_of(new or old or {}))
        for raw in filter(None, (old, new)):
            self._wake(key_of(raw))

    def _activators_changed(self) -> None:
        """Wake the models that are asleep, or may go to sleep."""
        for model in self.models.all():
            if sleeps(model):
                self._wake(key_of(model))

    def _demand_changed(self, key: Key) -> None:
        model = self.models.get(*key)
        if model is not None and sleeps(model):
            self._wake(key)

    def _child_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        if old is not None and new is not None and is_same(old, new):
            return
        for key in {key for raw in (old, new) if raw is not None for key in models_of(raw)}:
            if self.models.get(*key) is not None:
                self._wake_soon(key)

    def _pod_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        # A rollout's pods come one by one, and each would be looked at twice before it says anything.
        if new is None or not is_coming(new) or (old is not None and not is_coming(old)):
            self._child_changed(old, new)

    def _autoscaler_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        self._scalers.change(old, new)
        for key in {key for raw in (old, new) if raw is not None for key in sized_models(raw)}:
            self._ensure_keda(key)
        self._child_changed(old, new)

    def _ensure_keda(self, key: Key) -> None:
        model = self.models.get(*key)
        self._scaled.ensure(key, model is not None and wants_keda(model, self._scalers.at([key])))

    def _route_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        self._routes.change(old, new)
        self._child_changed(old, new)
        if old is None or new is None or old.get("spec") != new.get("spec"):
            places = {place for raw in (old, new) if raw is not None for place in places_of_route(raw)}
            for model in self._wanted_places.at(places):
                self._wake(key_of(model))

    def _gateway_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        if old is not None and new is not None and is_same(old, new):
            return
        gateway = key_of(new or old or {})
        for model in self.models.all():
            if gateway in gateways_of(model):
                self._wake(key_of(model))

    def _gateway_class_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        if old is None or new is None:
            for model in self.models.all():
                if gateways_of(model):
                    self._wake(key_of(model))

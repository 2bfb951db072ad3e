"""The field of the API that names the objects whose content is part of a revision."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ekiben.api.fields import ApiModel, Subdomain, rules
from ekiben.api.rules import pod as say


class TrackedObject(ApiModel):
    """An object of the model's namespace whose content is part of the revision: `configMap` or `secret`."""

    model_config = rules(say.TRACKED_ONE_KIND)

    config_map: Annotated[
        Subdomain | None,
        Field(
            description="Name of a ConfigMap. Each revision's pods get a copy of it as it was when the"
            " revision was born; other content is another revision."
        ),
    ] = None
    secret: Annotated[
        Subdomain | None,
        Field(
            description="Name of a Secret, which must be `immutable: true`: other content needs another name."
        ),
    ] = None

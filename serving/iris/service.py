"""The iris classifier as a BentoML service; the release is chosen by `bentoml build --arg release=...`."""

from pathlib import Path
from typing import Annotated

import bentoml
import joblib
import numpy as np
from bentoml.validators import DType, Shape
from faults import Faults
from pydantic import BaseModel, field_validator
from releases import RELEASES

SPECIES = ["setosa", "versicolor", "virginica"]
SETOSA = np.array([[5.1, 3.5, 1.4, 0.2]])
Flowers = Annotated[np.ndarray, DType("float64"), Shape((-1, 4))]


class Arguments(BaseModel):
    """What `bentoml build --arg` may set; BentoML keeps it in bento.yaml and reads it again at start."""

    release: str = "1.0.0"

    @field_validator("release")
    @classmethod
    def check_release(cls, release: str) -> str:
        """Accept only the releases that the table knows."""
        if release not in RELEASES:
            raise ValueError(f"release {release!r} is not one of {', '.join(RELEASES)}")
        return release


RELEASE = bentoml.use_arguments(Arguments).release

# No distro: it would install compilers into the image, and every dependency is a wheel.
image = bentoml.images.Image(base_image="python:3.11-slim", distro="", python_version="3.11")


@bentoml.service(image=image, labels={"release": RELEASE}, traffic={"timeout": 60})
class Iris:
    """Name the species of flowers from sepal length, sepal width, petal length, petal width in cm."""

    model_ref = bentoml.models.BentoModel(RELEASES[RELEASE].model)

    def __init__(self) -> None:
        self.model = joblib.load(Path(self.model_ref.path) / "model.joblib")

    # The latency is a bound on waiting, not a target: BentoML answers 503 to what it thinks will take longer.
    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=10_000)
    def predict(self, flowers: Flowers) -> list[str]:
        """Return one species per row."""
        return [SPECIES[index] for index in self.model.predict(flowers)]

    def __is_ready__(self) -> bool:
        """Be ready only while the model names a flower that every release knows."""
        return bool(self.model.predict(SETOSA)[0] == SPECIES.index("setosa"))


Iris.add_asgi_middleware(Faults, name=RELEASE, release=RELEASES[RELEASE], path="/predict")

"""Train the iris models on scikit-learn's own data and put them into BentoML's model store."""

import bentoml
import joblib
from bentoml.models import ModelContext
from sklearn import __version__ as sklearn_version
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

FEATURES = {"iris:sepals": [0, 1], "iris:flower": [0, 1, 2, 3]}
FILE = "model.joblib"


def train(columns: list[int]) -> tuple[Pipeline, float]:
    """Fit a classifier on the given columns; return it with its accuracy on flowers it has not seen."""
    flowers, species = load_iris(return_X_y=True)
    seen, unseen, seen_species, unseen_species = train_test_split(
        flowers, species, test_size=0.4, random_state=7, stratify=species
    )
    chosen = ColumnTransformer([("chosen", StandardScaler(), columns)])
    pipeline = make_pipeline(chosen, LogisticRegression(max_iter=1000))
    pipeline.fit(seen, seen_species)
    return pipeline, float(pipeline.score(unseen, unseen_species))


def save(tag: str, pipeline: Pipeline, accuracy: float) -> None:
    """Store a model under its tag, in place of an older one of the same tag."""
    if any(str(stored.tag) == tag for stored in bentoml.models.list()):
        bentoml.models.delete(tag)
    context = ModelContext(
        framework_name="scikit-learn", framework_versions={"scikit-learn": sklearn_version}
    )
    metadata = {"accuracy": round(accuracy, 4)}
    with bentoml.models.create(tag, context=context, metadata=metadata) as model:
        joblib.dump(pipeline, model.path_of(FILE))


if __name__ == "__main__":
    for tag, columns in FEATURES.items():
        pipeline, accuracy = train(columns)
        save(tag, pipeline, accuracy)
        print(f"{tag}: accuracy {accuracy:.3f} on unseen flowers")

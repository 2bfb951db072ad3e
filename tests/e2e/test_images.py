"""The built images, each run from its own unpacked layers: what answers, how it fails, what is not in it."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.rootfs import Image, overlay_works, unpack
from images.backend import choose_backend
from images.build import iris_archive, operator_archive
from images.buildah import Buildah
from images.cli import OUT
from images.command import run
from images.names import iris_image, iris_versions, operator_image
from localcluster.child import free_ports
from registry_lines import INDEX_LINE, machine_paths, pattern, registry_hosts

# What the operator sets in every pod.
POD_ENV = {"BENTOML_HOME": "/tmp/bentoml", "BENTOML_DO_NOT_TRACK": "true"}
# Flowers of scikit-learn's data set with their species; the last two have misleading sepals.
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5], [5.8, 2.8, 5.1, 2.4], [6.4, 2.9, 4.3, 1.3]]
SPECIES = ["setosa", "virginica", "virginica", "versicolor"]
# Files of packages and their documentation may name an index; none of them decides where packages come from.
PACKAGED = re.compile(
    r"usr/(?!local/)|.*/(site|dist)-packages/|app/lib/|var/lib/dpkg/|.*/bento/apis/openapi\.yaml$"
)
SETTINGS = ("pip.conf", "uv.toml", ".netrc", ".npmrc", "direct_url.json", "resolv.conf", "hostname")


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; seconds as the client saw them."""

    status: int
    version: str
    body: str
    seconds: float


@dataclass(frozen=True)
class Server:
    """A running image."""

    port: int
    process: subprocess.Popen[bytes]
    output: Path

    def get(self, path: str) -> Answer:
        """Send a GET."""
        return self._send(urllib.request.Request(f"http://127.0.0.1:{self.port}{path}"))

    def predict(self, flowers: object, request_id: str = "") -> Answer:
        """Send one call of the API."""
        url, body = f"http://127.0.0.1:{self.port}/predict", json.dumps({"flowers": flowers}).encode()
        headers = {"Content-Type": "application/json", "x-request-id": request_id}
        return self._send(urllib.request.Request(url, body, headers))

    def counter(self, code: int) -> float:
        """Return how many calls of the API BentoML counted with this status."""
        wanted = f'endpoint="/predict",http_response_code="{code}",runner_name="Iris",service_name="iris"'
        lines = [line for line in self.get("/metrics").body.splitlines() if wanted in line]
        return sum(
            float(line.split()[-1]) for line in lines if line.startswith("bentoml_service_request_total{")
        )

    def wait(self, path: str, status: int) -> None:
        """Wait until a path answers with a status."""
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the server ended:\n{self.output.read_text()}"
            try:
                if self.get(path).status == status:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        pytest.fail(f"{path} did not answer {status}:\n{self.output.read_text()}")

    def _send(self, request: urllib.request.Request) -> Answer:
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=30) as got:
                status, headers, body = got.status, got.headers, got.read()
        except urllib.error.HTTPError as error:
            status, headers, body = error.code, error.headers, error.read()
        return Answer(status, headers.get("x-model-version", ""), body.decode(), time.monotonic() - began)


Archives = tuple[Path, Path]
Serve = Callable[[str], AbstractContextManager[Server]]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """The archives of iris and of the operator, built where they are not up to date."""
    backend = choose_backend()
    if not overlay_works(tmp_path_factory.mktemp("overlay")):
        pytest.skip("images can't be unpacked and run here: that needs root and overlayfs")
    if backend.name != "buildah":
        pytest.skip("images built by Docker are loaded, not unpacked: these tests read buildah's archives")
    return iris_archive(iris_versions(), OUT, backend), operator_archive(OUT, backend)


@pytest.fixture(scope="module")
def images(archives: Archives, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    """Every image, unpacked."""
    folder = tmp_path_factory.mktemp("layers")
    return unpack(archives[0], folder) | unpack(archives[1], folder)


@contextmanager
def serving(image: Image, scratch: Path) -> Iterator[Server]:
    """Run an image's entrypoint with the operator's arguments, and end it as the kubelet does."""
    [port] = free_ports(1)
    output = scratch / "output"
    command = ["serve", "--host", "127.0.0.1", "--port", str(port), "--timeout-graceful-shutdown", "5"]
    with output.open("wb") as stream:
        process = image.start(command, POD_ENV, scratch, stream)
    try:
        yield Server(port, process, output)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def serve(images: dict[str, Image], tmp_path: Path) -> Serve:
    """Run a release of iris until it is ready."""

    @contextmanager
    def run(version: str) -> Iterator[Server]:
        with serving(images[iris_image(version)], tmp_path) as server:
            server.wait("/readyz", 200)
            yield server

    return run


@pytest.mark.parametrize("version", iris_versions())
def test_every_release_serves_counts_itself_and_ends_well(serve: Serve, version: str) -> None:
    with serve(version) as server:
        # With the refused one below these are four calls: 3.0.0 fails every fifth.
        answers = [server.predict(FLOWERS) for _ in range(3)]
        assert [(answer.status, answer.version) for answer in answers] == [(200, version)] * 3
        assert json.loads(answers[0].body)[0] == "setosa"
        assert server.counter(200) == 3
        assert f'service_version="{version}"' in server.get("/metrics").body
        refused = server.predict([[1.0, 2.0]])
        assert (refused.status, refused.version) == (400, version)
    assert server.process.returncode == 0


def test_the_second_release_is_better_than_the_first(serve: Serve) -> None:
    right = {}
    for version in ("1.0.0", "2.0.0"):
        with serve(version) as server:
            named = json.loads(server.predict(FLOWERS).body)
            right[version] = sum(one == other for one, other in zip(named, SPECIES, strict=True))
    assert right["1.0.0"] < right["2.0.0"] == len(SPECIES)


def test_the_bad_release_logs_exactly_the_requests_it_failed(serve: Serve) -> None:
    with serve("3.0.0") as server:
        seen = {f"r-{number}": server.predict(FLOWERS, f"r-{number}").status for number in range(50)}
        assert server.counter(500) == 10
    failed = {request for request, status in seen.items() if status == 500}
    lines = [line for line in server.output.read_text().splitlines() if line.startswith('{"event"')]
    logged = [json.loads(line) for line in lines]
    assert len(logged) == 10
    assert {line["request_id"] for line in logged} == failed
    assert set(seen.values()) == {200, 500}


def test_the_slow_release_is_slow_on_its_share(serve: Serve) -> None:
    with serve("4.0.0") as server:
        answers = [server.predict(FLOWERS) for _ in range(10)]
    assert {answer.status for answer in answers} == {200}
    assert sum(answer.seconds >= 0.4 for answer in answers) >= 3
    assert min(answer.seconds for answer in answers) < 0.4


def test_a_model_that_names_flowers_wrong_is_alive_but_not_ready(
    images: dict[str, Image], tmp_path: Path
) -> None:
    image = images[iris_image("2.0.0")]
    wrong = (
        "import base64, io, joblib; from sklearn.dummy import DummyClassifier; out = io.BytesIO();"
        "joblib.dump(DummyClassifier(strategy='constant', constant=2).fit([[0] * 4] * 3, [0, 1, 2]), out);"
        "print(base64.b64encode(out.getvalue()).decode())"
    )
    making = image.start(["/app/.venv/bin/python", "-c", wrong], {}, tmp_path, subprocess.PIPE)
    printed = making.communicate(timeout=60)[0].decode().strip().splitlines()[-1]
    model = tmp_path / "layer/home/bentoml/bento/models/iris/flower/model.joblib"
    model.parent.mkdir(parents=True)
    model.write_bytes(base64.b64decode(printed))

    with serving(image.with_layer(tmp_path / "layer"), tmp_path) as server:
        server.wait("/readyz", 503)
        assert server.get("/livez").status == 200


def test_releases_are_distinct_images_that_share_all_but_their_last_layers(images: dict[str, Image]) -> None:
    releases = [images[iris_image(version)] for version in iris_versions()]
    assert len({image.digest for image in releases}) == len(releases)
    for other in releases[1:]:
        assert other.layers[:-2] == releases[0].layers[:-2]
        assert other.layers[-2] != releases[0].layers[-2]


def test_a_release_runs_as_bentoml_runs_it(images: dict[str, Image]) -> None:
    image = images[iris_image("1.0.0")]
    env = dict(item.split("=", 1) for item in image.config["Env"])
    assert image.user() == ("1034", "1034")
    assert image.config["WorkingDir"] == env["BENTO_PATH"] == "/home/bentoml/bento"
    assert env["BENTOML_CONTAINERIZED"] == "true"
    assert "3000/tcp" in image.config["ExposedPorts"]


def test_building_again_from_the_same_files_gives_the_same_bytes(archives: Archives, tmp_path: Path) -> None:
    backend, image = choose_backend(), "ekiben.local/test-again:1"
    for number, name in enumerate(("first", "second")):
        context = tmp_path / name
        context.mkdir()
        (context / "Dockerfile").write_text("FROM python:3.11-slim\nCOPY a /a\nRUN date > /built\n")
        (context / "a").write_text("content")
        os.utime(context / "a", (number, number))
        backend.build(context, context / "Dockerfile", image)
        backend.save([image], tmp_path / f"{name}.tar")
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()


def test_the_operator_runs_as_nobody_from_a_read_only_root(images: dict[str, Image], tmp_path: Path) -> None:
    image = images[operator_image()]
    assert image.config["User"] == "65532:65532"
    assert image.config["Entrypoint"] == ["python", "-m", "ekiben"]
    script = (
        "import os, ekiben, aiohttp, kopf, kubernetes, prometheus_client, pydantic, yaml;"
        "print(os.getuid(), os.path.dirname(ekiben.__file__), os.access('/app/ekiben', os.W_OK))"
    )
    process = image.start(["/usr/bin/python", "-c", script], {}, tmp_path, subprocess.PIPE)
    assert process.communicate(timeout=60)[0].decode().split() == ["65532", "/app/ekiben", "False"]


def test_the_operators_code_is_compiled_for_good(images: dict[str, Image]) -> None:
    layers = images[operator_image()].layers
    files = {file.relative_to(layer): file for layer in layers for file in (layer / "app").rglob("*.py*")}
    sources = [name for name in files if name.suffix == ".py"]
    assert len(sources) > 500
    compiled = [name.parent / "__pycache__" / f"{name.stem}.cpython-311.pyc" for name in sources]
    assert [str(name) for name in compiled if name not in files] == []
    # PEP 552: 1 is a hash that is not checked, so a layer's new times don't make the code stale.
    assert {int.from_bytes(files[name].read_bytes()[4:8], "little") for name in compiled} == {1}


def test_no_image_says_where_its_packages_came_from(images: dict[str, Image]) -> None:
    hosts, paths = pattern(registry_hosts()), [path.encode() for path in machine_paths()]
    configured = [json.dumps(dict(image.config)).encode() for image in images.values()]
    assert [text for text in configured if hosts.search(text) or any(path in text for path in paths)] == []
    layers = {layer for image in images.values() for layer in image.layers}
    files = [(layer, file) for layer in layers for file in layer.rglob("*") if not file.is_symlink()]
    said = {
        file.relative_to(layer).as_posix(): what
        for layer, file in files
        if file.is_file() and (what := what_it_says(file.relative_to(layer), file.read_bytes(), hosts, paths))
    }
    assert len(files) > 10_000
    assert said == {}


def what_it_says(name: Path, data: bytes, hosts: re.Pattern[bytes], paths: list[bytes]) -> str:
    """Return what a file of an image gives away about this machine, or an empty string."""
    if any(path in data for path in paths):
        return "a path of this machine"
    if data and name.name in SETTINGS and name.parts[0] != "usr":
        return "settings of this machine"
    if PACKAGED.match(name.as_posix()):
        return ""
    return "a registry" if hosts.search(data) or INDEX_LINE.search(data) else ""


def test_cleaning_leaves_nothing_behind(archives: Archives, tmp_path: Path) -> None:
    backend = Buildah(tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    argv = ["buildah", "build", "--tag", "ekiben.local/gone:1", tmp_path / "context"]
    run("building", argv, tmp_path / "log", backend.storage_env(), tmp_path)
    before = set(Path("/run").glob("ekiben-images-*"))
    backend.clean([])
    assert len(before - set(Path("/run").glob("ekiben-images-*"))) == 1
    assert not (tmp_path / "cache").exists()
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()

"""Write kubeconfig files that carry their certificates with them."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from localcluster.pki import Pki


def write_kubeconfig(path: Path, *, name: str, server: str, pki: Pki, user: str) -> Path:
    """Write a kubeconfig with one context for `user` of the PKI, readable by its owner only."""

    def embedded(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    cluster = {"server": server, "certificate-authority-data": embedded(pki.crt("ca"))}
    credentials = {
        "client-certificate-data": embedded(pki.crt(user)),
        "client-key-data": embedded(pki.key(user)),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
    }
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_text(yaml.safe_dump(config))
    fresh.rename(path)
    return path

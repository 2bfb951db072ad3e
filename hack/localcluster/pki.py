"""The certificates of one throw-away control plane."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Certificates are valid from yesterday: a test may set a clock back, and machines disagree about the time.
_BACKDATED = datetime.timedelta(days=1)
_VALID = datetime.timedelta(days=365)


@dataclass(frozen=True)
class Pki:
    """A folder of PEM files named after whom they identify: NAME.crt and NAME.key."""

    folder: Path

    def crt(self, name: str) -> Path:
        """Return the certificate of `name`."""
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Return the private key of `name`."""
        return self.folder / f"{name}.key"


class Authority:
    """A certificate authority that signs servers' and clients' certificates into one folder."""

    def __init__(self, folder: Path) -> None:
        """Make a new authority; its files are ca.crt and ca.key."""
        folder.mkdir(parents=True, exist_ok=True)
        self.pki = Pki(folder)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("ekiben-local-ca", None)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = self._builder(self._name, self._key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(usage, critical=True)
        self._write("ca", builder.sign(self._key, hashes.SHA256()), self._key)

    def server(self, name: str, sans: Sequence[str], organisation: str | None = None) -> None:
        """Sign a server's certificate for these host names and IP addresses."""
        alternatives = x509.SubjectAlternativeName([_alternative(san) for san in sans])
        self._sign(name, _name(name, organisation), (ExtendedKeyUsageOID.SERVER_AUTH,), alternatives)

    def client(self, name: str, user: str, group: str | None = None) -> None:
        """Sign a client's certificate: the common name is the user, the organisation its group."""
        self._sign(name, _name(user, group), (ExtendedKeyUsageOID.CLIENT_AUTH,), None)

    def both(self, name: str, sans: Sequence[str]) -> None:
        """Sign a certificate with which a program serves, and calls others of its kind."""
        alternatives = x509.SubjectAlternativeName([_alternative(san) for san in sans])
        usages = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        self._sign(name, _name(name, None), usages, alternatives)

    def service_account_key(self) -> None:
        """Write the key pair that signs service account tokens: sa.key and sa.pub."""
        key = ec.generate_private_key(ec.SECP256R1())
        _write_private(self.pki.key("sa"), _pem(key))
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self.pki.folder / "sa.pub").write_bytes(public)

    def _sign(
        self,
        name: str,
        subject: x509.Name,
        usages: Sequence[x509.ObjectIdentifier],
        alternatives: x509.SubjectAlternativeName | None,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(subject, key)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        self._write(name, builder.sign(self._key, hashes.SHA256()), key)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - _BACKDATED).not_valid_after(now + _VALID)

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.pki.crt(name).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_private(self.pki.key(name), _pem(key))


def _name(common_name: str, organisation: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organisation is not None:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(attributes)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_private(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)


def create_control_plane_pki(folder: Path, addresses: Sequence[str]) -> Authority:
    """Write what an API server and its controllers need; `addresses` are further names of the server."""
    authority = Authority(folder)
    inside = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    authority.server("server", ["localhost", "127.0.0.1", *inside, *addresses])
    authority.client("admin", "ekiben-admin", "system:masters")
    authority.client("front-proxy", "front-proxy")
    authority.service_account_key()
    return authority

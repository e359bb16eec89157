"""Clips with Content Credentials: certificates and signatures made here, by test keys that nobody trusts."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime(2026, 1, 1)
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype"
YEARS = datetime.timedelta(days=36500)


@dataclass(frozen=True)
class Signer:
    """A signer's chain and key (PEM), and the root to trust it by."""

    chain: bytes
    key: bytes
    root: bytes


def signer(name: str = "Example Newsroom") -> Signer:
    """A signer of that name, certified by a root of its own."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name = _named(f"{name} Root")
    root = (
        _certificate(root_name, root_name, root_key.public_key())
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _certificate(_named(name), root_name, key.public_key())
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = root.public_bytes(serialization.Encoding.PEM)
    return Signer(leaf.public_bytes(serialization.Encoding.PEM) + pem, secret, pem)


def _named(name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


def _certificate(subject: x509.Name, issuer: x509.Name, key: Any) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=365))
        .not_valid_after(NOW + YEARS)
    )


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not signs,
        crl_sign=not signs,
        encipher_only=False,
        decipher_only=False,
    )


def sign(
    source: Path,
    target: Path,
    by: Signer,
    actions: list[dict[str, Any]] | None = None,
    tool: str = "Example Camera",
    remote_url: str | None = None,
    more: dict[str, Any] | None = None,
) -> Path:
    """Write `source` with credentials by that signer; `remote_url` instead of a manifest in the file."""
    created = {"action": "c2pa.created", "digitalSourceType": f"{SOURCE_TYPES}/digitalCapture"}
    done = actions or [{"action": "c2pa.edited"}]
    if done[0]["action"] != created["action"]:  # the standard wants it first
        done = [created, *done]
    manifest = {
        "claim_generator_info": [{"name": tool, "version": "1.2"}],
        "format": "video/mp4",
        "title": "a clip",
        "assertions": [{"label": "c2pa.actions", "data": {"actions": done}}],
        **(more or {}),
    }
    info = c2pa.C2paSignerInfo(b"es256", by.chain, by.key, None)
    with c2pa.Signer.from_info(info) as signing, c2pa.Builder(json.dumps(manifest)) as builder:
        if remote_url is not None:
            builder.set_no_embed()
            builder.set_remote_url(remote_url)
        with source.open("rb") as read, target.open("w+b") as written:
            builder.sign(signing, "video/mp4", read, written)
    return target

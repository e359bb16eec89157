"""Content Credentials (C2PA) of a file: who signed what of it, whether it still holds, whom the user trusts.

Nothing is fetched: no manifest from elsewhere, no answer about revoked certificates. What a manifest says is text of
strangers: it is cut and made printable here.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from deepfake.errors import UserError
from deepfake.files import printable

MOST_BYTES = 8 << 20  # of the credentials in a file; those of cameras and image generators have 10 kB to 2 MB
MOST_JSON = 4 << 20
MOST_TRUST_BYTES = 4 << 20
MOST_SHOWN = 60  # characters of any text
_MOST_NODES = 20_000  # of a manifest
State = Literal["broken", "valid", "trusted"]
_STATES: Mapping[str, State] = {"Trusted": "trusted", "Valid": "valid"}
_FORMATS = {".mov": "video/quicktime", ".avi": "video/avi", ".m4v": "video/x-m4v"}
# IPTC's words for what a machine drew, in whole or in part.
AI_SOURCES = {
    "trainedAlgorithmicMedia": "made by generative AI",
    "compositeWithTrainedAlgorithmicMedia": "put together with parts made by generative AI",
    "compositeSynthetic": "put together with synthetic parts",
    "algorithmicMedia": "made by an algorithm",
    "virtualRecording": "a recording of a virtual event",
}
# Left to itself the library fetches manifests by the addresses that files name; each of the two alone forbids it.
_OFFLINE: Mapping[str, Any] = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
    "core": {"allowed_network_hosts": [], "max_decompressed_manifest_size_in_mb": MOST_BYTES >> 20},
}


class UnreadError(Exception):
    """Credentials that are there and cannot be read: says why, in words that end a sentence."""


@dataclass(frozen=True)
class Credential:
    """What the file's active manifest says. `failures` are codes of the standard, `ai` what it calls made by AI.

    `of_parts` says what manifests of its ingredients call made by AI.
    """

    state: State
    signer: str
    tool: str
    signed: str
    actions: tuple[str, ...]
    ai: tuple[str, ...]
    of_parts: tuple[str, ...]
    failures: tuple[str, ...]


def shown(text: object, most: int = MOST_SHOWN) -> str:
    """A stranger's text on one line, cut."""
    line = " ".join(printable(str(text)[: 4 * most], " ").split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def read_trust_list(path: Path) -> str:
    """Certificates (PEM) of those whom the user trusts to certify signers; UserError for anything else."""
    try:
        text = path.read_bytes()[: MOST_TRUST_BYTES + 1].decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = f"could not be read ({error})"
        raise UserError(f"trust list {str(path)!r}: {reason}; wanted a file of PEM certificates") from None
    try:
        if len(text) > MOST_TRUST_BYTES or "-----BEGIN CERTIFICATE-----" not in text:
            raise ValueError("found none, or more than 4 MB")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)  # it reads each of them
    except (ssl.SSLError, ValueError) as error:
        raise UserError(f"trust list {str(path)!r}: {shown(error)}; wanted a file of PEM certificates") from None
    return text


def read_credential(path: Path, trust_list: Path | None = None) -> Credential | None:
    """What c2pa-python reads of the file; None where there is nothing, UnreadError where it cannot be read."""
    if find_spec("c2pa") is None:
        raise UnreadError("c2pa-python is not installed: pip install 'deepfake[evidence]'")
    import c2pa

    settings = dict(_OFFLINE)
    if trust_list is not None:
        settings["trust"] = {"trust_anchors": read_trust_list(trust_list)}
    try:
        context = c2pa.Context(c2pa.Settings.from_dict(settings))
    except c2pa.C2paError as error:
        raise UserError(f"trust list {str(trust_list)!r}: {shown(error)}; wanted PEM certificates") from None
    try:
        with path.open("rb") as file:
            reader = c2pa.Reader.try_create(_FORMATS.get(path.suffix.lower(), "video/mp4"), file, context=context)
            if reader is None:
                return None
            with reader:
                text = reader.json()
                state = str(reader.get_validation_state())
    except c2pa.C2paError as error:
        raise UnreadError(f"the reader stopped: {shown(error)}") from None
    if len(text) > MOST_JSON:
        raise UnreadError(
            f"they hold {len(text) / 1e6:.0f} MB of text, more than the {MOST_JSON >> 20} MB that are read"
        )
    try:
        return _credential(json.loads(text), state)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UnreadError(f"their text has another form ({type(error).__name__})") from None


def _credential(store: Any, state: str) -> Credential:
    manifests = _mapping(store.get("manifests"))
    number = store.get("active_manifest")
    active = _mapping(manifests.get(number))
    signature = _mapping(active.get("signature_info"))
    others = [manifest for name, manifest in manifests.items() if name != number]
    results = _mapping(_mapping(store.get("validation_results")).get("activeManifest"))
    failures = [shown(_mapping(one).get("code", "")) for one in _list(results.get("failure"))]
    return Credential(
        state=_STATES.get(state, "broken"),
        signer=shown(signature.get("common_name") or signature.get("issuer") or ""),
        tool=_tool(active),
        signed=shown(signature.get("time") or "", 25),
        actions=tuple(dict.fromkeys(_actions(active))),
        ai=tuple(dict.fromkeys(_ai(active))),
        of_parts=tuple(dict.fromkeys(words for manifest in others for words in _ai(_mapping(manifest)))),
        failures=tuple(dict.fromkeys(code for code in failures if code)),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value[:1000] if isinstance(value, list) else []


def _tool(manifest: Mapping[str, Any]) -> str:
    for info in _list(manifest.get("claim_generator_info")):
        name, version = (shown(_mapping(info).get(key) or "", 40) for key in ("name", "version"))
        if name:
            return f"{name} {version}".strip()
    return shown(str(manifest.get("claim_generator") or "").partition(" ")[0])


def _assertions(manifest: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for one in _list(manifest.get("assertions")):
        yield str(_mapping(one).get("label", "")), _mapping(_mapping(one).get("data"))


def _actions(manifest: Mapping[str, Any]) -> Iterator[str]:
    for label, data in _assertions(manifest):
        if label.startswith("c2pa.actions"):
            for action in _list(data.get("actions"))[:20]:
                yield shown(str(_mapping(action).get("action", "")).removeprefix("c2pa."), 30)


def _ai(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What any `digitalSourceType` in it says of AI."""
    stack: list[object] = [data for _, data in _assertions(manifest)]
    for _ in range(_MOST_NODES):
        if not stack:
            return
        value = stack.pop()
        if isinstance(value, dict):
            for name, inner in value.items():
                if str(name).lower().endswith("digitalsourcetype") and isinstance(inner, str):
                    words = AI_SOURCES.get(inner.rstrip("/").rpartition("/")[2])
                    if words:
                        yield words
                elif isinstance(inner, dict | list):
                    stack.append(inner)
        elif isinstance(value, list):
            stack.extend(inner for inner in value[:1000] if isinstance(inner, dict | list))

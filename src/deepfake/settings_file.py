"""Settings: one frozen model a stage, strict YAML, `stage.key=value` overrides.

Defaults live here and nowhere else. Loading settings opens no video, no network and no GPU.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import AliasChoices, ValidationError

from deepfake.errors import UserError as UserError
from deepfake.files import PROJECT_ROOT as PROJECT_ROOT
from deepfake.files import digest as digest
from deepfake.registry import use_plugins
from deepfake.settings import MODULE, Config, Settings


class _StrictLoader(yaml.SafeLoader):
    """YAML that refuses repeated keys and reads `1e-4` as the number it looks like."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int, float, bool, type(None))):
                raise UserError(f"line {key_node.start_mark.line + 1}: a key must be a word, found {key!r}")
            if key in seen:
                raise UserError(f"line {key_node.start_mark.line + 1}: key {key!r} stands there twice; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def read_yaml(text: str, name: str) -> dict[str, Any]:
    """The mapping in a YAML text; `name` is what errors call it."""
    try:
        value = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UserError(f"{name}: found a {type(value).__name__}, wanted `section:` lines with `key: value` below them")
    return value


def _section(path: Iterable[Any]) -> type[Settings] | None:
    model: Any = Config
    for part in path:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        model = getattr(field, "annotation", None)
        if not (isinstance(model, type) and issubclass(model, Settings)):
            return None
    return cast(type[Settings], model)


def _known_keys(path: Iterable[Any]) -> list[str]:
    section = _section(path)
    return list(section.model_fields) if section else []


def _other_names(path: Sequence[Any]) -> list[str]:
    """Other names by which the same setting is read: the one of now first, then older ones."""
    section = _section(path[:-1])
    for field in section.model_fields.values() if section else ():
        names = field.validation_alias.choices if isinstance(field.validation_alias, AliasChoices) else []
        if path[-1] in names:
            return [str(name) for name in names if name != path[-1]]
    return []


def _explain(error: ValidationError, name: str) -> str:
    lines = []
    for item in error.errors():
        path = item["loc"]
        dotted = ".".join(str(part) for part in path)
        if item["type"] == "extra_forbidden":
            if names := _other_names(path):
                lines.append(f"{dotted}: the same setting as {names[0]!r}, which is there, too; keep one")
                continue
            near = difflib.get_close_matches(str(path[-1]), _known_keys(path[:-1]), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(_known_keys(path[:-1])) or 'none'}"
            lines.append(f"{dotted}: no such setting{hint}")
        elif not path:  # of several settings together
            lines.append(item["msg"].removeprefix("Value error, "))
        else:
            lines.append(f"{dotted}: found {item['input']!r}; {item['msg'].removeprefix('Value error, ')}")
    return f"{name}: {len(lines)} wrong setting{'s' if len(lines) > 1 else ''}\n  " + "\n  ".join(lines)


def _set(values: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise UserError(f"--set {override!r}: wanted stage.key=value, for example extract.frames_per_video=16")
    try:
        value = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError:
        raise UserError(f"--set {override!r}: the value is not valid YAML") from None
    node: dict[str, Any] = values
    for key in keys[:-1]:
        if node.get(key) is None:
            node[key] = {}
        node = node[key]
        if not isinstance(node, dict):
            raise UserError(f"--set {override!r}: {key!r} is a value, not a section")
    for other in _other_names(keys):
        node.pop(other, None)
    node[keys[-1]] = value


def parse_config(values: Mapping[str, Any], name: str = "settings") -> Config:
    """Check plain values against the settings; all mistakes stand in one message."""
    # A section without a line below it keeps its defaults. Strict: `yes` is no number, "16" neither.
    text = json.dumps({key: value for key, value in values.items() if value is not None}, default=str)
    try:
        return Config.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise UserError(_explain(error, name)) from None


def _own_config(values: Mapping[str, Any], name: str) -> Config:
    """`parse_config` of what the user wrote, whose plugins are imported before their names are looked up."""
    listed = values.get("plugins")
    if isinstance(listed, list):
        use_plugins(module for module in listed if isinstance(module, str) and re.fullmatch(MODULE, module))
    return parse_config(values, name)


def default_config(overrides: Iterable[str] = ()) -> Config:
    """The defaults with `stage.key=value` overrides laid over them: for commands without a settings file."""
    values: dict[str, Any] = {}
    for override in overrides:
        _set(values, override)
    return _own_config(values, "--set")


def load_config(path: Path, overrides: Iterable[str] = (), run: str | None = None) -> Config:
    """Read a settings file and lay `stage.key=value` overrides and the run's name over it."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        folder = path.parent if path.parent.is_dir() else PROJECT_ROOT / "configs"
        have = ", ".join(sorted(p.name for p in folder.glob("*.yaml"))) or "none"
        raise UserError(f"settings file {str(path)!r} does not exist; {folder} has: {have}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"settings file {str(path)!r} cannot be read: {error}") from None
    values = read_yaml(text, str(path))
    for override in overrides:
        _set(values, override)
    if run is not None:
        values["run"] = run
    return _own_config(values, str(path))

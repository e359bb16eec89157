"""Messages name options and settings that exist: each is collected from the source and tried."""

import argparse
import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake.commands.arguments import stage_parser, trial_parser
from deepfake.commands.main import COMMANDS
from deepfake.settings import Config
from deepfake.workers import Limits
from lab.__main__ import COMMANDS as LAB_COMMANDS

SRC = Path(__file__).parents[1] / "src"
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
SECTIONS = {name: field.annotation for name, field in Config.model_fields.items()}
KEYS = {name: getattr(section, "model_fields", {}) for name, section in SECTIONS.items()}
SETTING = re.compile(rf"(?<![\w./])({'|'.join(name for name, keys in KEYS.items() if keys)})\.([a-z_0-9]+)(?![\w(./])")
# Other programs' options and files, which our messages name too.
OTHERS = {"--no-cov"}


def parsers() -> dict[str, argparse.ArgumentParser]:
    ours = {name: importlib.import_module(f"deepfake.commands.{name.replace('-', '_')}") for name in COMMANDS}
    lab = {f"lab {name}": importlib.import_module(f"lab.commands.{name.replace('-', '_')}") for name in LAB_COMMANDS}
    made = {name: module.arguments() for name, module in (ours | lab).items()}
    return made | {"stage": stage_parser(None), "trial": trial_parser(None)}


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                found |= options_of(below)
    return found


PARSERS = parsers()
OPTIONS = {option for parser in PARSERS.values() for option in options_of(parser)}


def messages() -> Iterator[tuple[str, str]]:
    """Where and what: texts inside what is raised or made a `Failed`, with `...` for what is filled in."""
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.exc if isinstance(node, ast.Raise) else node
            if not isinstance(called, ast.Call):
                continue
            name = called.func.attr if isinstance(called.func, ast.Attribute) else getattr(called.func, "id", "")
            if not re.search(r"(Error|Failed)$|^(warning|_with_value)$", name):
                continue
            for argument in called.args:
                yield f"{path.relative_to(SRC)}:{called.lineno}", text_of(argument)


def text_of(node: ast.expr) -> str:
    """The constant parts of a text."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "..." for v in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else ""


MESSAGES = sorted({(where, text) for where, text in messages() if OPTION.search(text) or SETTING.search(text)})


def test_messages_that_name_options_and_settings_are_found() -> None:
    assert len(MESSAGES) > 10


@pytest.mark.parametrize(("where", "text"), MESSAGES)
def test_what_a_message_names_exists(where: str, text: str) -> None:
    for option in OPTION.findall(text):
        assert option in OPTIONS | OTHERS, f"{where} names {option}, which no command has"
    for section, key in SETTING.findall(text):
        assert key in KEYS[section], f"{where} names {section}.{key}, which the settings lack"


@pytest.mark.parametrize("command", ["check", "predict"])
def test_the_limits_that_messages_name_are_options_of_the_commands(command: str) -> None:
    deadline, memory = Limits(1, 1).options
    values = PARSERS[command].parse_args(["videos", deadline, "7.5", memory, "2000"])
    assert (values.deadline_s, values.memory_mb) == (7.5, 2000)
    for option, wrong in ((deadline, "0"), (deadline, "nan"), (memory, "299"), (memory, "-5"), (memory, "a")):
        with pytest.raises(SystemExit) as stop:
            PARSERS[command].parse_args(["videos", f"{option}={wrong}"])
        assert stop.value.code == 2


@pytest.mark.parametrize("section", ["extract", "index", "robustness"])
def test_the_limits_that_messages_of_stages_name_are_settings(section: str) -> None:
    for option in Limits(1, 1).of_section(section).options:
        name = option.removeprefix("--set ").removesuffix("=")
        if name == "index.memory_mb":
            continue  # probing has no such limit, so that no message names it
        assert name.split(".")[1] in KEYS[section]
    assert "--set" in options_of(PARSERS["stage"]) & options_of(PARSERS["lab robustness"])


def test_no_message_names_a_limit_without_its_option() -> None:
    bare = [f"{where}: {text}" for where, text in messages() if re.search(r"(?<![\w.-])(deadline_s|memory_mb)\b", text)]
    assert bare == []

"""Whatever a pipe or a screen can show, a command prints to its end."""

import io
import subprocess
import sys

import pytest

from deepfake.commands.plain_text import fall_back_to_plain
from run_command import ENVIRONMENT

TEXT = "café ▁▄█ ± − 视 \udce9"
PLAIN = {
    "ascii": "caf\\xe9 _-# +- - \\u89c6 \\udce9",
    "latin-1": "café _-# ± - \\u89c6 \\udce9",
    "cp1252": "café _-# ± - \\u89c6 \\udce9",
    "utf-8": "café ▁▄█ ± − 视 \\udce9",
}


def printed(encoding: str, errors: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What arrives of the text on a stdout of this encoding."""
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, encoding=encoding, errors=errors))
    fall_back_to_plain()
    print(TEXT, end="", flush=True)
    return data.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", PLAIN)
def test_characters_that_cannot_be_shown_are_plain_ones_or_escapes(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert printed(encoding, "strict", monkeypatch) == PLAIN[encoding]


def test_a_c_locale_whose_streams_let_bytes_of_names_through_prints_bars_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "_-#" in printed("ascii", "surrogateescape", monkeypatch)


def test_what_a_person_asked_for_instead_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed("ascii", "replace", monkeypatch) == "caf? ??? ? ? ? ?"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_every_command_prints_under_any_encoding(encoding: str) -> None:
    code = "from deepfake.commands.guard import guarded; guarded(lambda: print('▂ é', flush=True) or print('▂ é'))"
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, timeout=60)
    wanted = {"ascii": ". \\xe9", "cp1252": ". é", "utf-8": "▂ é"}[encoding]
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode(encoding).splitlines() == [wanted, wanted]

"""The command line all stages share: the same flags, errors in words, exit code 2 for a user's mistake."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import yaml

from deepfake.commands.arguments import stage_parser
from deepfake.commands.guard import guarded
from deepfake.outputs import try_folder
from deepfake.settings import Config, section_values
from deepfake.settings_file import load_config
from deepfake.stages import STAGES, Stage, alone, check_inputs, is_current, note_done, refuse_changed, state_of_inputs


def run_stage(
    name: str,
    description: str | None,
    work: Callable[[Config, argparse.Namespace], dict[str, Any]],
    shortcuts: Mapping[str, str] | None = None,
) -> None:
    """Run one stage: settings, inputs, up to date or not, the work, manifest, summary.

    `shortcuts` are flags of this stage alone that stand for a setting, such as `--against: validation.against`.
    """

    def main() -> None:
        parser = stage_parser(description)
        for flag, setting in (shortcuts or {}).items():
            parser.add_argument(
                flag, dest="set", action="append", type=_laid_over(setting), metavar="NAME", help=f"sets {setting}"
            )
        args = parser.parse_args()
        config = load_config(args.config, args.set, args.run)
        stage = STAGES[name]
        check_inputs(stage, config)
        if not args.force and is_current(stage, config, args.limit):
            print(f"{name}: up to date ({_places(stage, config)})")
            return
        print(f"{name}: {stage.makes}\n{_shown(stage, config)}")
        start = time.monotonic()
        is_first = os.environ.get("RANK", "0") == "0"  # under torchrun all processes do the work, one keeps the books
        if is_first:
            for folder in sorted({path.parent for path in stage.output_paths(config)}):
                try_folder(folder)
        with alone(stage.manifest_path(config).parent) if is_first else nullcontext():
            made_from = state_of_inputs(stage, config) if is_first else {}
            summary = work(config, args)
            seconds = time.monotonic() - start
            if is_first:
                refuse_changed(stage, config, made_from)
                note_done(stage, config, args.limit, seconds, summary)
        counts = ", ".join(f"{key} {value}" for key, value in summary.items())
        print(f"{name}: done in {seconds:.1f} s: {counts}\n  -> {_places(stage, config)}")

    guarded(main)


def _laid_over(setting: str) -> Callable[[str], str]:
    """Text as a value for --set that YAML reads as text again."""
    return lambda text: f"{setting}={json.dumps(text)}"


def _shown(stage: Stage, config: Config) -> str:
    values = {section: section_values(config, section) for section in stage.sections}
    text = yaml.safe_dump({"dataset": config.dataset, "run": config.run, **values}, sort_keys=False, width=100)
    return "".join(f"  {line}\n" for line in text.splitlines()).rstrip()


def _places(stage: Stage, config: Config) -> str:
    paths = stage.output_paths(config)
    shown = [str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path) for path in paths]
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")

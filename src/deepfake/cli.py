"""The command line all stages share: the same flags, errors in words, exit code 2 for a user's mistake."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import math
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import yaml

from deepfake.config import NAME, PROJECT_ROOT, Config, CropView, UserError, load_config, section_values
from deepfake.stages import STAGES, Stage, alone, check_inputs, is_current, note_done

EXIT_USER, EXIT_STOPPED = 2, 130
# A folder that may not be written, a full disk: the user's to mend.
USERS_DISK = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR}


def stage_parser(description: str | None) -> argparse.ArgumentParser:
    """The flags of every stage."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="settings, such as configs/demo.yaml"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="STAGE.KEY=VALUE", help="lay a value over the settings file"
    )
    parser.add_argument("--run", metavar="NAME", help="name of the run, instead of the settings file's")
    parser.add_argument("--limit", type=whole_number, metavar="N", help="work on N videos only, spread over all")
    parser.add_argument("--force", action="store_true", help="do it again even if it is up to date")
    return parser


def trial_parser(description: str | None) -> argparse.ArgumentParser:
    """The flags of commands that measure networks on labelled clips they never learnt from."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings: extraction and ensemble")
    parser.add_argument(
        "--set", action="append", default=[], metavar="STAGE.KEY=VALUE", help="lay a value over the settings file"
    )
    parser.add_argument("--run", action="append", required=True, metavar="NAME[/STEP]", help="may be given repeatedly")
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of labelled clips")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label, identity, family, ...")
    parser.add_argument("--cache", type=Path, default=PROJECT_ROOT / "data/work/predict", help="where crops are kept")
    return parser


def whole_number(text: str) -> int:
    """The type of an argument that counts something: 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted a whole number from 1")
    return int(text)


def crop_view(text: str) -> CropView:
    """The type of an argument that is a way to see crops: size and view over the network's own, then what is changed.

    `mirror` turns left to right, `blur=0.025` blurs the face's surroundings, `px=240` reduces larger crops first.
    """
    try:
        size, view, *rest = (part.strip() for part in text.split(","))
        changes: dict[str, Any] = {"mirror": False, "surroundings_blur": 0.0, "crop_px": None}
        for part in rest:
            name, _, value = part.partition("=")
            if part == "mirror" and not changes["mirror"]:
                changes["mirror"] = True
            elif name == "blur" and not changes["surroundings_blur"]:
                changes["surroundings_blur"] = float(value)
            elif name == "px" and changes["crop_px"] is None:
                changes["crop_px"] = int(value)
            else:
                raise ValueError(text)
        return CropView(size_ratio=float(size), view_ratio=float(view), **changes)
    except ValueError:  # pydantic's, too
        raise argparse.ArgumentTypeError(
            f"found {text!r}, wanted ratios from 0.25 to 4 such as 1.333,1.129 or 1,1,mirror,blur=0.025,px=240"
        ) from None


def view_name(way: CropView) -> str:
    """What `crop_view` reads."""
    blur = f",blur={way.surroundings_blur:g}" if way.surroundings_blur else ""
    reduced = f",px={way.crop_px}" if way.crop_px is not None else ""
    return f"{way.size_ratio:g},{way.view_ratio:g}{',mirror' if way.mirror else ''}{blur}{reduced}"


def whole_numbers(text: str) -> list[int]:
    """The type of an argument that lists counts between commas: rising, none twice."""
    return sorted({whole_number(part) for part in text.split(",")})


def grey_levels(text: str) -> list[float]:
    """The type of an argument that lists differences of pictures between commas: rising, none twice."""
    try:
        levels = sorted({float(part) for part in text.split(",")})
    except ValueError:
        levels = [math.nan]
    if not all(0 < level <= 255 for level in levels):
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted grey levels above 0, up to 255, such as 1,2.5")
    return levels


def file_stem(text: str) -> str:
    """The type of an argument that names a file to be made, without folder and ending."""
    if not re.fullmatch(NAME, text):
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted letters, digits, dots and dashes")
    return text


def guarded(main: Callable[[], int | None]) -> NoReturn:
    """Run a command; a user's mistake and Ctrl-C end it with a sentence instead of a traceback."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    logging.basicConfig(level=logging.INFO, format="%(levelname).1s %(message)s", stream=sys.stderr)
    for name in ("matplotlib", "numba", "PIL", "fontTools"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        sys.exit(main() or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER)
    except KeyboardInterrupt:
        print("stopped; the same command again goes on from here", file=sys.stderr)
        sys.exit(EXIT_STOPPED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has left: nothing more to say
        sys.exit(1)
    except OSError as error:
        if error.errno not in USERS_DISK:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER)


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
        with alone(stage.manifest_path(config).parent) if is_first else nullcontext():
            summary = work(config, args)
            seconds = time.monotonic() - start
            if is_first:
                note_done(stage, config, args.limit, seconds, summary)
        told = ", ".join(f"{key} {value}" for key, value in summary.items())
        print(f"{name}: done in {seconds:.1f} s: {told}\n  -> {_places(stage, config)}")

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

"""Flags that commands share, and types of arguments; light, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake.errors import UserError
from deepfake.files import default_cache
from deepfake.outputs import try_file, try_folder

if TYPE_CHECKING:
    from deepfake.settings import CropView, Predict, WorkEngine

LEAST_MEMORY_MB = 300  # the libraries alone take as much
READERS = 2  # videos that `deepfake check` reads at once


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


def trial_parser(description: str | None, needs_run: bool = True) -> argparse.ArgumentParser:
    """The flags of commands that measure networks on labelled clips they never learnt from.

    Without `needs_run` none of them must be given.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config", type=Path, required=needs_run, metavar="FILE", help="settings: extraction and ensemble"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="STAGE.KEY=VALUE", help="lay a value over the settings file"
    )
    parser.add_argument(
        "--run", action="append", required=needs_run, default=[], metavar="NAME[/STEP]", help="may be given repeatedly"
    )
    parser.add_argument("--clips", type=Path, required=needs_run, metavar="DIR", help="folder of labelled clips")
    parser.add_argument(
        "--labels", type=Path, required=needs_run, metavar="CSV", help="file, label, identity, family, ..."
    )
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    return parser


def add_limits(parser: argparse.ArgumentParser) -> None:
    """The flags that move what reading one video may cost, or how much of it is read."""
    parser.add_argument(
        "--memory-mb",
        type=memory_mb,
        metavar="MB",
        help="memory for reading a video (by its picture's size, from 1500)",
    )
    parser.add_argument(
        "--deadline-s", type=seconds, metavar="S", help="time for reading a video (by its size and length, from 300)"
    )
    parser.add_argument(
        "--frames", type=whole_number, metavar="N", help="frames to look at (32; fewer are quicker and less sure)"
    )


def limits_given(args: argparse.Namespace) -> dict[str, float]:
    """Which of these were given, by the name of the setting that they are laid over."""
    given = {"memory_mb": args.memory_mb, "deadline_s": args.deadline_s, "frames_per_video": args.frames}
    return {name: value for name, value in given.items() if value is not None}


def add_engine(parser: argparse.ArgumentParser) -> None:
    """The flags that say what runs the networks."""
    parser.add_argument(
        "--engine",
        choices=["auto", "onnxruntime", "torch"],
        default="auto",
        help="what runs the networks (auto: ONNX Runtime on a processor, PyTorch on a GPU)",
    )
    parser.add_argument(
        "--fast", action="store_true", help="let PyTorch compute in bf16 where that is fast: single scores move"
    )


def predict_given(args: argparse.Namespace) -> Predict:
    """The settings that these flags stand for."""
    from deepfake.settings import Predict

    return Predict(engine=args.engine, precision="auto" if args.fast else "fp32")


def engine_given(overrides: Sequence[str]) -> WorkEngine:
    """The section `engine` of the settings that these values of --set stand for; no other is theirs to set."""
    from deepfake.settings_file import default_config

    others = [override for override in overrides if not override.strip().startswith("engine.")]
    if others:
        raise UserError(f"--set {others[0]!r}: this command takes engine.KEY=VALUE, such as engine.kind=spark")
    return default_config(overrides).engine


def memory_mb(text: str) -> int:
    """The type of an argument that limits memory."""
    if not text.isdecimal() or int(text) < LEAST_MEMORY_MB:
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted a whole number of MB from {LEAST_MEMORY_MB}")
    return int(text)


def seconds(text: str) -> float:
    """The type of an argument that limits time."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted seconds, more than 0")
    return value


def whole_number(text: str) -> int:
    """The type of an argument that counts something: 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted a whole number from 1")
    return int(text)


def two_or_more(text: str) -> int:
    """The type of an argument that says into how many parts something is divided."""
    if whole_number(text) < 2:
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted a whole number from 2")
    return int(text)


def natural_number(text: str) -> int:
    """The type of an argument that numbers something, such as a seed: 0 or more."""
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted a whole number from 0")
    return int(text)


def above_zero(text: str) -> float:
    """The type of an argument that measures something, such as minutes."""
    return _number(text, math.inf, "a number above 0")


def share(text: str) -> float:
    """The type of an argument that is a part of a whole."""
    return _number(text, 1, "a share above 0, up to 1")


def quality(text: str) -> int:
    """The type of an argument that says how well pictures are kept."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 100):
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted a whole number from 1 to 100")
    return int(text)


def _number(text: str, most: float, wanted: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and 0 < value <= most):
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted {wanted}")
    return value


def folder_or_url(text: str) -> Path | str:
    """The type of an argument that names a folder: a URL stays a text."""
    from deepfake.engines.storage import is_url

    return text if is_url(text) else Path(text)


def output_file(text: str) -> Path:
    """The type of an argument that names a file to write: its place is tried before the work."""
    return _tried(Path(text), try_file)


def output_folder(text: str) -> Path:
    """The type of an argument that names a folder to write into: its place is tried before the work."""
    return _tried(Path(text), try_folder)


def _tried(path: Path, attempt: Callable[[Path], None]) -> Path:
    try:
        attempt(path)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return path


def crop_view(text: str) -> CropView:
    """The type of an argument that is a view of crops: size and view over the network's own, then what is changed.

    `mirror` turns left to right, `blur=0.025` blurs the face's surroundings, `px=240` reduces larger crops first.
    """
    from deepfake.settings import CropView

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


def view_name(view: CropView) -> str:
    """What `crop_view` reads."""
    blur = f",blur={view.surroundings_blur:g}" if view.surroundings_blur else ""
    reduced = f",px={view.crop_px}" if view.crop_px is not None else ""
    return f"{view.size_ratio:g},{view.view_ratio:g}{',mirror' if view.mirror else ''}{blur}{reduced}"


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
    from deepfake.settings import NAME

    if not re.fullmatch(NAME, text):
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted letters, digits, dots and dashes")
    return text

"""`deepfake COMMAND ...`: one file a command, and none is imported before it is asked for.

To add a command, write `commands/<name>.py` with `arguments()` and `run(args)`, and give it a line in `COMMANDS`;
`EXTRA` in it names the extra of pyproject.toml that the command needs, if any.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from deepfake import __version__
from deepfake.commands.guard import guarded
from deepfake.commands.plain_text import fall_back_to_plain

COMMANDS = {
    "check": "a verdict on one video or several, as a line, a page and JSON",
    "predict": "score a folder of videos -> CSV, a row a file",
    "evaluate": "measure a CSV of scores against a CSV of labels",
    "people": "who is seen in which videos, by face alone: a page, and a data set's table",
    "find": "which videos a clip, or an excerpt of it, was seen in before",
    "query": "ask the tables of a data set in SQL",
    "watch": "watch a stream as it comes: a camera, an address, a pipe, or a file at its own rate",
    "probe": "what a video file is made of, and which decoder may be trusted with it",
    "train": "train one image classifier on everything a settings file names, or from a pack",
    "pack": "write all that a training needs into a few files, for a machine that has little else",
    "adopt": "make a snapshot of a training from a pack a run's network",
    "train-heads": "train networks over tracks beside an image classifier",
    "average": "average the weights of networks tuned from one start",
    "ship": "weigh and calibrate networks on labelled clips, and write them as one detector",
    "recalibrate": "fit a detector's stack and calibration anew on labelled clips; its networks stay",
    "export": "write a detector's file with graphs for ONNX Runtime, which scores without PyTorch",
    "unpack": "take a detector's file apart: each member becomes a run's network",
    "demo": "build the demo data: real clips and forgeries of them, laid out like DFDC",
    "kaggle": "build the bundle for an offline Kaggle notebook",
}
ABOUT = "Find forged faces in video. The numbered stages are src/01_index_videos.py to src/08_validate.py."


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The console script `deepfake`."""
    dispatch("deepfake", "deepfake.commands", ABOUT, COMMANDS, argv)


def dispatch(
    program: str, package: str, about: str, commands: Mapping[str, str], argv: Sequence[str] | None = None
) -> NoReturn:
    """Run the command that the first argument names, with the rest of the arguments.

    `commands` has what each does; the module of one is `package`.<name>, with _ for -.
    """
    fall_back_to_plain()  # before --help is printed, too
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if name in commands:
        module = importlib.import_module(f"{package}.{name.replace('-', '_')}")
        parser: argparse.ArgumentParser = module.arguments()
        parser.prog = f"{program} {name}"
        args = parser.parse_args(rest)
        guarded(lambda: module.run(args), getattr(module, "EXTRA", None))
    if name in ("-h", "--help", ""):
        print(_overview(program, about, commands))
        sys.exit(0 if name else 2)
    if name == "--version":
        print(f"{program} {__version__}")
        sys.exit(0)
    near = difflib.get_close_matches(name, commands, 1)
    hint = f"did you mean {near[0]}?" if near else f"wanted one of {', '.join(commands)}"
    print(f"error: {program}: there is no command {name!r}; {hint} `{program} --help` lists them", file=sys.stderr)
    sys.exit(2)


def _overview(program: str, about: str, commands: Mapping[str, str]) -> str:
    width = max(map(len, commands)) + 2
    rows = "\n".join(f"  {name:{width}}{what}" for name, what in commands.items())
    return f"usage: {program} COMMAND ...\n\n{about}\n\n{rows}\n\n`{program} COMMAND --help` lists the flags of one."

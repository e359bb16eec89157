"""How every command ends: a user's mistake with a sentence and exit code 2, Ctrl-C with what to do next."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import NoReturn

from deepfake.commands.plain_text import fall_back_to_plain
from deepfake.errors import UserError

EXIT_USER, EXIT_STOPPED = 2, 130


# A full disk, a folder that may not be written: the user's to mend.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
USERS_DISK = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG, *NO_ROOM}


# What `pip install deepfake` leaves out, and the smallest extra that brings it.
EXTRAS = {
    "pandas": "evaluate",
    "pyarrow": "evaluate",
    "scipy": "evaluate",
    "numba": "evaluate",
    "torch": "train",
    "torchvision": "train",
    "timm": "train",
    "facenet_pytorch": "train",
    "accelerate": "train",
    "albumentations": "train",
    "onnx": "train",
    "tensorboard": "train",
    "sklearn": "report",
    "matplotlib": "report",
    "nbformat": "kaggle",
    "packaging": "kaggle",
    "pyspark": "spark",
    "fsspec": "spark",
    "duckdb": "catalog",
    "starlette": "live",
    "uvicorn": "live",
    "c2pa": "evidence",
}
# Looked for before a command that needs the extra begins: else it would read, fetch or write before it fails. Not the
# rest: a training from a pack, on a machine that has little else, does with a part of its extra.
LOOKED_FOR = {"evaluate": "pandas", "train": "torch", "kaggle": "nbformat", "catalog": "duckdb"}


def guarded(main: Callable[[], int | None], extra: str | None = None) -> NoReturn:
    """Run a command; a user's mistake and Ctrl-C end it with a sentence instead of a traceback.

    `extra`: the one that brings all that the command needs, named whichever module is missing.
    """
    fall_back_to_plain()
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # they are looked for in what every package says of itself
    logging.basicConfig(level=logging.INFO, format="%(levelname).1s %(message)s", stream=sys.stderr)
    for name in ("matplotlib", "numba", "PIL", "fontTools"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        if extra is not None and find_spec(LOOKED_FOR[extra]) is None:
            raise ModuleNotFoundError(name=LOOKED_FOR[extra])
        sys.exit(main() or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        brings = f"pip install 'deepfake[{extra or EXTRAS[error.name]}]' brings it"
        print(f"error: {error.name} is not installed; {brings}", file=sys.stderr)
        sys.exit(EXIT_USER)
    except KeyboardInterrupt:
        print("stopped; the same command again goes on from here", file=sys.stderr)
        sys.exit(EXIT_STOPPED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has left: nothing more to print
        sys.exit(1)
    except OSError as error:
        if error.errno not in USERS_DISK:
            raise
        print(f"error: {_of_disk(error)}", file=sys.stderr)
        sys.exit(EXIT_USER)


def _of_disk(error: OSError) -> str:
    remedy = "make room; the same command again goes on from here" if error.errno in NO_ROOM else "name another place"
    return f"{error.filename or 'a file'}: {error.strerror}; {remedy}"

"""Put this folder on PYTHONPATH, and each process of a command notes when it had decoded its first frame.

Python imports this module by its name as it starts. The seconds since the epoch are added to the file that FIRST_FRAME
names.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

WATCHED = "deepfake.media.video"


class Watch(MetaPathFinder):
    """Lets the module of frames be found as ever, and changes its `Frame` once it is imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """None for every other module."""
        if name != WATCHED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            _watch(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _watch(module: Any) -> None:
    begin = module.Frame.__init__

    def first(*arguments: Any, **options: Any) -> None:
        begin(*arguments, **options)
        module.Frame.__init__ = begin
        with Path(os.environ["FIRST_FRAME"]).open("a") as notes:
            notes.write(f"{time.time()}\n")

    module.Frame.__init__ = first


if "FIRST_FRAME" in os.environ:
    sys.meta_path.insert(0, Watch())

"""Find forged faces in video. `deepfake.check("clip.mp4").p_fake` in Python, `deepfake check clip.mp4` in a shell.

The names in `__all__` are the public API (`deepfake.api` says what each does); they are imported when first used, so
that `import deepfake` is quick.
"""

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepfake.api import Detector, FaceTrack, check, find_faces, load_detector, open_video, probe, query
    from deepfake.detector.check import Check
    from deepfake.errors import UserError
    from deepfake.media.demux import VideoError, VideoProbe

__version__ = "0.1.0"
# ONNX Runtime reports its use to Microsoft from 1.32 on, and leaves a file in the folder for temporary ones, unless
# this stands before it is imported. Who checks a video tells nobody; a value that is there already stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
__all__ = [
    "Check",
    "Detector",
    "FaceTrack",
    "UserError",
    "VideoError",
    "VideoProbe",
    "check",
    "find_faces",
    "load_detector",
    "open_video",
    "probe",
    "query",
]
_HOMES = {
    "Check": "deepfake.detector.check",
    "UserError": "deepfake.errors",
    "VideoError": "deepfake.media.demux",
    "VideoProbe": "deepfake.media.demux",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES.get(name, "deepfake.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Where somebody speaks: the one door to the voice activity network in the package silero-vad (MIT).

Of that package only a file is used; none of its code is run.
"""

from __future__ import annotations

import numpy as np

from deepfake.errors import UserError
from deepfake.files import packaged_file
from deepfake.media.sound import RATE_HZ
from deepfake.models.runtime import NamedNetwork, library

PACKAGE, VERSION = "silero-vad", "6.2.3"
FILE = "silero_vad/data/silero_vad_16k_sequence.onnx"
SHA256 = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"
REMEDY = f"run `make setup`, or `pip install --no-deps {PACKAGE}=={VERSION}`"
FRAME, CONTEXT, STATE = 512, 64, 128  # samples of a frame, samples before it that are shown with it, numbers it keeps
FRAME_S = FRAME / RATE_HZ
AT_ONCE = 512  # frames of a call: 16 s


def voice_file() -> bytes:
    """The network as it lies in the package; UserError where that is missing or another than the one measured."""
    return packaged_file(PACKAGE, FILE, REMEDY, SHA256).read_bytes()


def voice_activity(samples: np.ndarray) -> np.ndarray:
    """How sure it is that somebody speaks, 0..1, in each frame of FRAME samples (float32, RATE_HZ)."""
    if library() is None:
        raise UserError("voices are found by ONNX Runtime, which is missing here; pip install onnxruntime")
    network = NamedNetwork(voice_file(), 1)
    n_frames = -(-len(samples) // FRAME)
    padded = np.zeros(CONTEXT + n_frames * FRAME, np.float32)
    padded[CONTEXT : CONTEXT + len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + FRAME)[::FRAME]
    h = c = np.zeros((1, 1, STATE), np.float32)
    found = []
    for start in range(0, n_frames, AT_ONCE):
        shares, h, c = network.run({"input": frames[start : start + AT_ONCE], "h": h, "c": c})
        found.append(shares)
    return np.concatenate(found) if found else np.zeros(0, np.float32)

"""Write RGB frames as a video file: demo data, tests and codec round trips."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_clip(
    path: Path,
    frames: Iterable[np.ndarray],
    fps: float,
    codec: str = "libx264",
    crf: int = 18,
    pix_fmt: str = "yuv420p",
    options: Mapping[str, str] | None = None,
) -> int:
    """Encode HWC uint8 RGB frames of one size, aside and then renamed; return how many.

    `pix_fmt` yuv420p needs even sides: an odd last row or column is cut off. Encoding runs on
    one thread, so that equal frames give equal bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    settings = {"crf": str(crf), **(options or {})} if codec.startswith("lib") else dict(options or {})
    count = 0
    try:
        with av.open(str(aside), "w") as container:
            stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001 * 240))
            stream.pix_fmt, stream.options, stream.thread_count = pix_fmt, settings, 1
            if codec == "libx265":
                stream.options = {**settings, "x265-params": "log-level=error:pools=1:frame-threads=1"}
                stream.codec_context.codec_tag = "hvc1"
            for frame_HWC in frames:
                height_px, width_px = frame_HWC.shape[0] // 2 * 2, frame_HWC.shape[1] // 2 * 2
                if count == 0:
                    stream.width, stream.height = width_px, height_px
                elif (stream.width, stream.height) != (width_px, height_px):
                    raise ValueError(
                        f"clip {path.name!r}: frame {count} is {width_px}x{height_px}, "
                        f"wanted {stream.width}x{stream.height} like the first"
                    )
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC[:height_px, :width_px]), "rgb24")
                container.mux(stream.encode(picture))
                count += 1
            if count == 0:
                raise ValueError(f"clip {path.name!r}: no frames to write")
            container.mux(stream.encode(None))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return count

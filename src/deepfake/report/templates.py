"""Templates beside this module, filled so that no value can be markup and none can be missing."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import cv2
import jinja2
import numpy as np

from deepfake.shards import encode_crop

HERE = Path(__file__).parent


def page_environment() -> jinja2.Environment:
    """Where the templates of whole pages are rendered; each page adds its own filters and globals."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_url(picture_HWC: np.ndarray, side_px: int, jpeg_quality: int) -> str:
    """A picture (uint8 RGB) as a JPEG of this side that stands in the page itself."""
    small = cv2.resize(picture_HWC, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return "data:image/jpeg;base64," + base64.b64encode(encode_crop(small, "jpeg", jpeg_quality)).decode()


def source_hash(text: str) -> str:
    """What a Content-Security-Policy calls a style or script by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

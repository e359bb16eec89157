"""Large pictures: clips that are what they are called, and a table of what their checks cost."""

from pathlib import Path

import av
import pytest
from av.video.frame import PictureType

from deepfake.media.video import probe
from lab.cheap_detector import write_cheap_detector
from lab.large_pictures import SIZES_PX, Row, as_markdown, measure, write_large


def row(**changes: object) -> Row:
    return Row(**{**vars(Row("8K", 3.0, 60.0, 2000.0, 3492, 1, 24, 1, "inconclusive", "")), **changes})  # type: ignore[arg-type]


def test_a_clip_has_ten_bits_b_frames_and_its_size(tmp_path: Path) -> None:
    write_large(tmp_path / "a.mp4", (640, 360), 12)
    probed = probe(tmp_path / "a.mp4")
    assert (probed.width_px, probed.height_px, probed.pixel_format) == (640, 360, "yuv420p10le")
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        kinds = [int(frame.pict_type) for frame in container.decode(stream)]
        assert stream.codec_context.name == "hevc" and kinds.count(PictureType.B) > 6 and kinds[0] == PictureType.I


def test_a_clip_without_a_score_is_a_fault() -> None:
    assert not row().is_fault
    assert row(n_faces=0).is_fault and row(verdict="no face found").is_fault and row(verdict="exit code 1").is_fault


def test_the_table_tells_what_was_said_and_why() -> None:
    text = as_markdown([row(verdict="could not be read", reason="too large")])
    assert text.splitlines()[2] == (
        "| 8K | 3.0 MB | 60.0 | 2000 MB | 3492 MB | 1 in 1 | 24 | 1 | could not be read (too large) |"
    )


@pytest.mark.slow
def test_a_check_of_8k_stays_within_its_default_limits_and_finds_the_face(tmp_path: Path) -> None:
    write_cheap_detector(tmp_path / "cheap.safetensors", {"frames_per_video": 8})
    (made,) = measure(["8K"], tmp_path / "work", tmp_path / "cheap.safetensors")
    assert SIZES_PX["8K"] == (7680, 4320) and not made.is_fault, made
    assert made.memory_mb < made.limit_mb and made.stride == 1

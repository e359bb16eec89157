"""Clips: every frame in, equal bytes for equal frames, nothing half written."""

from pathlib import Path

import numpy as np
import pytest

from deepfake.media.clips import write_clip
from deepfake.media.video import probe, sample


def frames(n: int, width_px: int = 64, height_px: int = 48) -> list[np.ndarray]:
    return [np.full((height_px, width_px, 3), 20 + 5 * i, np.uint8) for i in range(n)]


def test_all_frames_come_back_with_size_and_rate(tmp_path: Path) -> None:
    assert write_clip(tmp_path / "sub" / "a.mp4", frames(20), 25) == 20
    probed = probe(tmp_path / "sub" / "a.mp4")
    assert (probed.n_frames, probed.width_px, probed.height_px, probed.codec) == (20, 64, 48, "h264")
    assert probed.fps == pytest.approx(25)


def test_the_pictures_come_back_in_order(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", frames(10), 10, crf=4)
    greys = [frame.rgb().mean() for frame in sample(tmp_path / "a.mp4", "uniform", n_frames=10)]
    assert greys == pytest.approx([20 + 5 * i for i in range(10)], abs=3)


def test_a_broken_frame_rate_is_kept(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", frames(30), 30000 / 1001)
    assert probe(tmp_path / "a.mp4").fps == pytest.approx(29.97, abs=0.01)


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, frames(8), 25)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_hevc_is_written_as_hevc(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", frames(4), 25, codec="libx265", crf=30, options={"preset": "ultrafast"})
    assert probe(tmp_path / "a.mp4").codec == "hevc"


def test_an_odd_side_loses_its_last_row_or_column(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", frames(2, 65, 49), 25)
    probed = probe(tmp_path / "a.mp4")
    assert (probed.width_px, probed.height_px) == (64, 48)


def test_a_frame_of_another_size_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frame 2 is 32x32, wanted 64x48 like the first"):
        write_clip(tmp_path / "a.mp4", [*frames(2), *frames(1, 32, 32)], 25)
    assert list(tmp_path.iterdir()) == []


def test_no_frames_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frames to write"):
        write_clip(tmp_path / "a.mp4", [], 25)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_clip_leaves_the_old_one(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", frames(3), 25)
    before = (tmp_path / "a.mp4").read_bytes()

    def interrupted():  # type: ignore[no-untyped-def]
        yield frames(1)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_clip(tmp_path / "a.mp4", interrupted(), 25)
    assert (tmp_path / "a.mp4").read_bytes() == before and len(list(tmp_path.iterdir())) == 1

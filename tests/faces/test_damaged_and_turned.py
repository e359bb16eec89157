"""Damaged and wrongly turned videos: undamaged pictures are judged, damaged ones decide nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from damaged_clips import outcomes, table
from deepfake.faces import extractor
from deepfake.faces.extracted import Extraction, read_extraction
from deepfake.faces.extractor import Job, Look, extract, turn_of_faces
from deepfake.faces.mtcnn import Faces
from deepfake.media.clips import write_clip
from deepfake.media.video import sample
from deepfake.settings import Extract
from moving_squares import SquareDetector

SETTINGS = Extract(frames_per_video=32, sampling="uniform", detection_stride=4, crop_px=32)


def spoil(path: Path, number: int) -> None:
    """Overwrite the second half of a frame's packet."""
    with av.open(str(path)) as container:
        at, size = [(p.pos, p.size) for p in container.demux(video=0) if p.size][number]
    data = bytearray(path.read_bytes())
    data[at + size // 2 : at + size] = np.random.default_rng(0).bytes(size - size // 2)
    path.write_bytes(bytes(data))


def noisy(path: Path, gop: int, first: int = 0) -> Path:
    """32 frames of a white square over noise, from frame `first` on; a keyframe every `gop` frames."""
    noise = np.random.default_rng(0).integers(40, 140, (96, 160, 3), np.uint8)
    frames = []
    for number in range(32):
        frame = noise.copy()
        if number >= first:
            frame[8:32, 20 + number : 44 + number] = 255
        frames.append(frame)
    write_clip(path, frames, 8, crf=10, options={"g": str(gop), "bf": "0"})
    return path


def extracted(path: Path, monkeypatch: pytest.MonkeyPatch, detector: SquareDetector | None = None) -> Extraction:
    monkeypatch.setattr(extractor, "_detector", lambda *_: detector or SquareDetector())
    return extract(Job(path.name, path, path.parent, f"crops/{path.stem}.tar", SETTINGS))


def test_undamaged_groups_of_pictures_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = noisy(tmp_path / "clip.mp4", gop=8)
    spoil(path, 8)
    found = extracted(path, monkeypatch)
    assert (found.n_damaged, found.n_sampled, found.is_damaged) == (7, 24, False)  # the keyframe itself did not come
    assert {face.frame_index for face in found.faces} == set(range(32)) - set(range(8, 16))


def test_where_all_is_suspect_the_frames_that_decode_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = noisy(tmp_path / "clip.mp4", gop=32, first=3)
    spoil(path, 1)
    assert [frame.is_suspect for frame in sample(path, "uniform", 32, with_damaged=True)] == [False, *[True] * 31]
    found = extracted(path, monkeypatch)
    assert found.failure is None and found.is_damaged
    assert (found.n_damaged, found.n_sampled) == (31, 32) and len(found.faces) >= 20
    assert "31 damaged frames among them" in str(found.decoder_reason)
    assert read_extraction(tmp_path, "crops/clip.tar", "clip.mp4") == found


def test_a_damaged_video_without_a_face_says_so(square_clip: Callable[..., Path]) -> None:
    left_out = Extraction("v", n_sampled=20, n_damaged=12)
    among = Extraction("v", n_sampled=32, n_damaged=32, is_damaged=True)
    assert left_out.reason == "no face in 20 frames; damaged and left out: 12"
    assert among.reason == "no face in 32 frames; damaged of these: 32"


@pytest.mark.slow
def test_of_20_clips_with_flipped_bits_none_is_refused_because_all_its_frames_are_suspect(tmp_path: Path) -> None:
    found = list(outcomes(tmp_path, (1, 30, 100, 500)))  # every other column of the table
    count = [outcome for _, _, outcome in found]
    assert len(found) == 20 and "refused: all damaged" not in count, table(found)
    assert count.count("judged") >= 6 and count.count("shown, damaged") >= 2, table(found)
    assert count.count("refused otherwise") <= 2, table(found)
    few = {outcome for _, n_bits, outcome in found if n_bits <= 3}
    assert few == {"judged"}, table(found)


class UprightDetector(SquareDetector):
    """Finds squares only where the picture's upper half is the brighter one; else it is as sure as `wrong_way_up`."""

    def __init__(self, wrong_way_up: float = 0.0, upright: float = 0.999) -> None:
        super().__init__()
        self.wrong_way_up, self.upright = wrong_way_up, upright

    def detect(self, pictures: Sequence[np.ndarray], min_face_px: int | None = None) -> list[Faces]:
        self.score = self.upright if _is_upright(pictures[0]) else self.wrong_way_up
        found = super().detect(pictures, min_face_px)
        return found if self.score else [Faces.none() for _ in found]


def _is_upright(picture_HWC: np.ndarray) -> bool:
    height, width = picture_HWC.shape[:2]
    middle = picture_HWC[height // 4 : -height // 4, width // 4 : -width // 4].mean()
    top, others = picture_HWC[:8].mean(), (picture_HWC[-8:], picture_HWC[:, :8], picture_HWC[:, -8:])
    return bool(top > max(other.mean() for other in others) and middle >= 0)


def turned_clip(path: Path, turned: int) -> Path:
    """A bright sky, and a square at (60, 30, 84, 54) of 160x96 px; stored so that `turned` clockwise is upright."""
    frames = []
    for _ in range(16):
        frame = np.full((96, 160, 3), 90, np.uint8)
        frame[:8] = 180
        frame[30:54, 60:84] = 255
        frames.append(np.ascontiguousarray(np.rot90(frame, turned // 90)))
    write_clip(path, frames, 8, crf=4)
    return path


@pytest.mark.parametrize("turned", [90, 180, 270])
@pytest.mark.parametrize("wrong_way_up", [0.0, 0.96])
def test_footage_without_an_upright_face_is_judged_the_way_up_its_faces_are(
    turned: int, wrong_way_up: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = turned_clip(tmp_path / "clip.mp4", turned)
    found = extracted(path, monkeypatch, UprightDetector(wrong_way_up))
    assert found.turned == turned and len(found.faces) == 16
    assert found.faces[0].box == pytest.approx((60, 30, 84, 54), abs=1.5)
    assert f"turned by {turned} degrees" in str(found.decoder_reason)
    assert read_extraction(tmp_path, "crops/clip.tar", "clip.mp4").turned == turned


def test_sure_upright_faces_cost_no_further_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = UprightDetector()
    found = extracted(turned_clip(tmp_path / "clip.mp4", 0), monkeypatch, detector)
    assert found.turned == 0 and len(detector.sizes_px) == 5


def test_a_video_turned_by_no_more_than_a_false_alarm_stays_as_it_is() -> None:
    blank = np.zeros((96, 160, 3), np.uint8)
    square = blank.copy()
    square[30:54, 60:84] = 255
    detector = SquareDetector(score=0.999)
    looks = [Look(blank, 0.0), Look(square, 0.0), Look(blank, 0.0)]
    assert turn_of_faces(looks, detector, SETTINGS) == 0  # type: ignore[arg-type]
    assert turn_of_faces([Look(square, 0.0)] * 2, detector, SETTINGS) == 180  # type: ignore[arg-type]
    assert turn_of_faces([Look(square, 0.998)] * 2, detector, SETTINGS) == 0  # type: ignore[arg-type]
    assert turn_of_faces([], detector, SETTINGS) == 0  # type: ignore[arg-type]

"""Spans of forged clips in the real ones they were made from: which clips are pairs, and what is looked for."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from deepfake import tables
from deepfake.config import Config, UserError
from deepfake.datasets import read_all
from deepfake.degrade import Degradation
from deepfake.forged_tracks import Pair, RealTrack
from deepfake.spans import Suspect
from deepfake.spliced import counterparts, find_splices, match_times, splice
from face_pictures import LANDMARKS, Face, face, write_frames
from learning_data import config, one_thread, video_row  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")
SIDE = 96
INNER = slice(SIDE // 4, 3 * SIDE // 4)
N_FRAMES = 20


def footage(seed: int, shift: int = 0, forged: bool = False) -> list[Face]:
    """A clip's crops; `shift`: cut so many pixels further right and down out of the same frames."""
    scene = cv2.resize(np.random.default_rng(seed).integers(40, 215, (12, 12, 3), np.uint8), (2 * SIDE, 2 * SIDE))
    found = []
    for t in range(N_FRAMES):
        frame = np.ascontiguousarray(np.roll(scene, 2 * t, axis=1))
        own = face(seed, SIDE)
        if forged:
            frame[20:, 20:][INNER, INNER] = 255 - frame[20:, 20:][INNER, INNER]
        part = slice(20 + shift, 20 + shift + SIDE)
        found.append(Face(np.ascontiguousarray(frame[part, part]), own.landmarks - shift))
    return found


def pairs(folder: Path, clips: dict[str, tuple[int, str, list[Face], int]], **videos: dict[str, object]) -> Config:
    """Clips (label, identity, crops, shift of the crop) in tables, and the CSV that names their people."""
    csv = folder / "clips.csv"
    listed = [
        {"file": f"d/{name}", "generator": f"gen++ {name[0]}", "identity": who, "source": "s"}
        for name, (_, who, _, _) in clips.items()
    ]
    pd.DataFrame(listed).to_csv(csv, index=False)
    found = config(folder, frames={"selfblend": {"groups_csv": str(csv), "degradation": 0.0}})
    size = {"width_px": 320, "height_px": 240, "fps": 30.0}
    rows = pd.DataFrame(
        [video_row(name, label) | size | videos.get(name.split(".")[0], {}) for name, (label, *_) in clips.items()]
    )
    tables.write(tables.VIDEOS, rows.sort_values("video_id"), found.work_dir / "videos.parquet")
    faces = write_frames(found.work_dir, {name: crops for name, (_, _, crops, _) in sorted(clips.items())})
    shift = faces["video_id"].map({name: cut for name, (*_, cut) in clips.items()})
    for column in ("crop_x0_px", "crop_y0_px"):
        faces[column] = 100.0 + shift
    faces["time_s"] = faces["frame_index"] / 4  # as sampled: the whole lasts longer than the second that is asked for
    points = [column for column in faces if column in LANDMARKS]
    faces[points] = faces[points].to_numpy() + 100.0 + shift.to_numpy()[:, None]
    tables.write(tables.FACES, faces, found.work_dir / "faces.parquet")
    return found


def test_times_match_the_nearest_frame_or_none() -> None:
    found = match_times(np.array([0.0, 0.1, 0.2, 0.5]), np.array([0.01, 0.11, 0.3]), 0.02)
    assert found.tolist() == [0, 1, -1, -1]


def test_a_forged_clip_is_paired_with_the_real_one_it_was_made_from_wherever_its_face_was_cut(tmp_path: Path) -> None:
    settings = pairs(
        tmp_path,
        {
            "a_real.mp4": (0, "ann", footage(1), 0),
            "a_fake.mp4": (1, "ann", footage(1, 5, True), 5),
            "b_real.mp4": (0, "bob", footage(2), 0),
            "b_elsewhere.mp4": (1, "bob", footage(3, 0, True), 0),
            "c_real.mp4": (0, "cid", footage(4), 0),
            "c_larger.mp4": (1, "cid", footage(4, 0, True), 0),
            "d_alone.mp4": (1, "dan", footage(5, 0, True), 0),
        },
        c_larger={"width_px": 640},
    )
    (one,) = counterparts(settings, read_all(settings.work_dir))
    assert (one.real.video_id, one.fake.video_id, one.generator) == ("a_real.mp4", "a_fake.mp4", "gen++ a")
    assert one.fake_T.tolist() == list(range(N_FRAMES))


def test_a_splice_shows_the_forged_frames_in_its_span_and_the_real_ones_around(tmp_path: Path) -> None:
    clips = {"real.mp4": (0, "ann", footage(1), 0), "fake.mp4": (1, "ann", footage(1, 0, True), 0)}
    settings = pairs(tmp_path, clips)
    (one,) = counterparts(settings, read_all(settings.work_dir))
    span_T = np.arange(N_FRAMES) // 4 == 1
    pair = splice(one, span_T, Degradation())
    assert pair.fake.forged_T.tolist() == span_T.tolist()
    assert "+" not in pair.fake.name
    for t, frame in enumerate(pair.fake_seen):
        shown = clips["fake.mp4" if span_T[t] else "real.mp4"][2][t].picture
        assert np.array_equal(frame, shown)
        assert np.array_equal(pair.real_seen[t], clips["real.mp4"][2][t].picture)


def by_sight(knows: list[Face]) -> Suspect:
    """Stands in for a network: as suspicious as a crop's middle is unlike that of the face it `knows`."""

    def suspect(_: RealTrack, pair: Pair) -> dict[str, np.ndarray]:
        middles = [
            np.abs(crop[INNER, INNER].astype(float) - known.picture[INNER, INNER]).mean()
            for crop, known in zip(pair.fake_seen, knows, strict=True)
        ]
        return {"frames": np.array(middles)}

    return suspect


def blind(_: RealTrack, pair: Pair) -> dict[str, np.ndarray]:
    return {"frames": np.zeros(len(pair.fake_seen))}


def test_a_network_that_sees_the_forgery_finds_every_splice_and_a_blind_one_does_not(tmp_path: Path) -> None:
    real = footage(1)
    settings = pairs(tmp_path, {"real.mp4": (0, "ann", real, 0), "fake.mp4": (1, "ann", footage(1, 0, True), 0)})

    def found(suspect: Suspect) -> list[bool]:
        findings = list(find_splices(settings, read_all(settings.work_dir), suspect, 0.25, 8))
        assert all(0 < finding.chance < 0.5 for finding in findings)
        return [finding.found["frames"] for finding in findings]

    assert found(by_sight(real)) == [True] * 8
    by_chance = found(blind)
    assert sum(by_chance) < 4
    assert found(blind) == by_chance, "equal draws"


def test_clips_without_a_pair_are_refused_in_words(tmp_path: Path) -> None:
    settings = pairs(tmp_path, {"real.mp4": (0, "ann", footage(1), 0), "fake.mp4": (1, "bob", footage(1, 0, True), 0)})
    with pytest.raises(UserError, match=r"no forged clip lies beside the real one.*extract\.sampling=fps"):
        list(find_splices(settings, read_all(settings.work_dir), blind, 0.2, 1))

"""What the notebook of tracks says of a data set; the notebook itself is run in test_notebooks.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake import tables
from deepfake.errors import UserError
from deepfake.report import tracks
from deepfake.report.strips import Strip, facts_html, spread_places, strips_html
from deepfake.settings import Config
from learning_data import config, invented


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    made_settings = config(tmp_path)
    made = invented(made_settings.work_dir)
    two = pd.concat([made.faces, made.faces[made.faces["video_id"] == "real1.mp4"].assign(track=1)])
    tables.write(tables.VIDEOS, made.videos, made_settings.work_dir / "videos.parquet")
    tables.write(tables.FACES, two, made_settings.work_dir / "faces.parquet")
    return made_settings


def test_the_busiest_video_has_most_tracks(settings: Config) -> None:
    material = tracks.read_material(settings)
    assert tracks.busiest_video(material) == "real1.mp4"
    table = tracks.video_table(material)
    assert table.loc["real1.mp4", ["label", "n_tracks", "n_faces"]].tolist() == ["real", 2, 8]
    assert table.loc["fake4.mp4", "label"] == ""
    assert tracks.track_strips(material, "real1.mp4").count("<img") == 8


def test_without_scores_there_are_none_to_show(settings: Config) -> None:
    material = tracks.read_material(settings)
    assert "0 by run demo" in tracks.overview(material)
    assert "none; run stages 03 and 04" in tracks.frame_scores(material)
    assert tracks.timeline(material, "real1.mp4").count("<svg") == 1


def test_scores_of_several_networks_are_averaged(settings: Config) -> None:
    key = {"video_id": "real0.mp4", "track": 0, "frame_index": 9}
    rows = [{"model": name, **key, "logit": logit} for name, logit in (("a", -1.0), ("b", 3.0))]
    tables.write(tables.FRAME_SCORES, pd.DataFrame(rows), settings.run_dir / "frames_oof.parquet")
    faces = tracks.read_material(settings).faces.set_index(["video_id", "track", "frame_index"])["p_fake"]
    assert faces["real0.mp4", 0, 9] == pytest.approx(1 / (1 + np.exp(-1.0)))
    assert faces.notna().sum() == 1
    assert ">frames</text>" in tracks.frame_scores(tracks.read_material(settings))


def test_an_unknown_video_and_one_without_a_face_are_refused(settings: Config) -> None:
    material = tracks.read_material(settings)
    with pytest.raises(UserError, match=r"'x\.mp4': no such video; choose one of video_table"):
        tracks.track_strips(material, "x.mp4")
    faceless = tracks.Material(settings, material.videos, material.faces.iloc[:0], material.read_crop)
    with pytest.raises(UserError, match="no face was found in it"):
        tracks.timeline(faceless, "real0.mp4")
    with pytest.raises(UserError, match="has no face"):
        tracks.busiest_video(faceless)
    assert "Faces" in tracks.overview(faceless)


def test_places_are_spread_from_first_to_last() -> None:
    assert spread_places(3, 8) == [0, 1, 2]
    assert spread_places(9, 3) == [0, 4, 8]
    assert spread_places(0) == []


def test_names_stay_text() -> None:
    crop = np.zeros((20, 20, 3), np.uint8)
    text = strips_html([Strip("<script>a</script>", '"><b>', [crop], ["<i>"])]) + facts_html({"<u>": "<s>"})
    assert not any(tag in text for tag in ("<script>", "<b>", "<i>", "<u>", "<s>"))
    assert "&lt;script&gt;a&lt;/script&gt;" in text

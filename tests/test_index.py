"""The index: every file is a row with its state, every label comes from somebody who said it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake.clips import write_clip
from deepfake.config import Index, UserError
from deepfake.index import collect_notes, find_videos, index_videos, path_of, read_labels, read_metadata, video_id_of
from deepfake.tables import VIDEOS, check

SETTINGS = Index(workers=1, deadline_s=30)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(path, (np.full((48, 64, 3), 10 * i, np.uint8) for i in range(10)), 10, options={"preset": "ultrafast"})
    return path.read_bytes()


@pytest.fixture
def put(tmp_path: Path, clip: bytes) -> Callable[..., Path]:
    """Put a file (by default the clip) below the root."""

    def write(name: str | bytes, data: bytes | str | None = None) -> Path:
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip if data is None else data.encode() if isinstance(data, str) else data)
        return path

    return write


def indexed(root: Path, settings: Index = SETTINGS, **options: object) -> pd.DataFrame:
    """The table as it comes back from the disk."""
    found = index_videos(root, settings, **options)  # type: ignore[arg-type]
    return check(VIDEOS, found).to_pandas().set_index("video_id")


def test_dfdc_parts_give_labels_originals_and_parts(tmp_path: Path, put: Callable[..., Path]) -> None:
    for name in ("dfdc_train_part_0/a.mp4", "dfdc_train_part_0/b.mp4", "dfdc_train_part_1/c.mp4", "test_videos/d.mp4"):
        put(name)
    entries = {
        "a.mp4": {"label": "REAL", "split": "train", "original": None},
        "b.mp4": {"label": "FAKE", "split": "train", "original": "a.mp4"},
    }
    put("dfdc_train_part_0/metadata.json", json.dumps(entries))
    put("dfdc_train_part_1/metadata.json", json.dumps({"c.mp4": {"label": "FAKE", "original": "z.mp4"}}))
    found = indexed(tmp_path)
    assert found["label"].tolist()[:3] == [0, 1, 1] and pd.isna(found.loc["test_videos/d.mp4", "label"])
    assert found.loc["dfdc_train_part_0/b.mp4", "original"] == "dfdc_train_part_0/a.mp4"
    assert found.loc["dfdc_train_part_1/c.mp4", "original"] == "dfdc_train_part_1/z.mp4"
    assert found["part"].tolist() == ["dfdc_train_part_0"] * 2 + ["dfdc_train_part_1", "test_videos"]
    assert found["split"].tolist() == ["train"] * 3 + ["test"]
    row = found.iloc[0]
    assert (row["n_frames"], row["width_px"], row["height_px"], row["codec"], row["status"]) == (
        10,
        64,
        48,
        "h264",
        "ok",
    )
    assert row["fps"] == pytest.approx(10) and len(row["sha256"]) == 64


def test_a_plain_folder_has_no_labels(tmp_path: Path, put: Callable[..., Path]) -> None:
    put("a.mp4")
    put("deep/er/b.MP4")
    put("notes.txt", "not a video")
    put(".hidden/c.mp4")
    put("._a.mp4", "left by a Mac")
    put(".hidden/metadata.json", "[not for us]")
    found = indexed(tmp_path)
    assert found.index.tolist() == ["a.mp4", "deep/er/b.MP4"] and found["part"].tolist() == [".", "deep/er"]
    assert found["label"].isna().all() and (found["status"] == "ok").all()


def test_a_csv_gives_labels_and_the_columns_beside_them(tmp_path: Path, put: Callable[..., Path]) -> None:
    for name in "abcd":
        put(f"{name}.mp4")
    rows = ["filename,label,original,identity,family", "a.mp4,REAL,,Ada,", "b.mp4,fake,a.mp4,Ada,swap"]
    rows += ["./c.mp4,1", "d.mp4,"]
    found = indexed(tmp_path, labels_csv=put("labels.csv", "\ufeff" + "\r\n".join(rows)))
    assert found["label"].fillna(-1).tolist() == [0, 1, 1, -1]
    assert found.loc["b.mp4", ["original", "identity", "manipulation"]].tolist() == ["a.mp4", "Ada", "swap"]


@pytest.mark.parametrize("column", ["file", "filename", "video_id"])
@pytest.mark.parametrize(("text", "label"), [("REAL", 0), (" Fake ", 1), ("0", 0), ("1", 1), ("1.0", 1), ("", None)])
def test_labels_are_read_as_words_and_as_numbers(tmp_path: Path, column: str, text: str, label: int | None) -> None:
    (tmp_path / "labels.csv").write_text(f"{column},label\na.mp4,{text}\n")
    assert read_labels(tmp_path / "labels.csv")["a.mp4"].label == label


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.mp4,REAL\ngone.mp4,FAKE\n", r"1 of 2 files are not below .* the first 'gone\.mp4'"),
        ("file,label\na.mp4,FAEK\n", r"line 2: 'a\.mp4' has label 'FAEK'; wanted REAL, FAKE, 0 or 1"),
        ("file,label\na.mp4,2\n", "label '2'"),
        ("file,label\na.mp4,0\na.mp4,1\n", r"line 3: 'a\.mp4' stands there twice"),
        ("file,label\n../a.mp4,0\n", "no file name inside its folder"),
        ("file,label\n,0\n", "no file name"),
        ("file,label,original\na.mp4,1,/etc/passwd\n", "no file name inside its folder"),
        ("video,label\na.mp4,0\n", "found columns video, label; wanted file or filename"),
        ("file\na.mp4\n", "found columns file; wanted label or target"),
        ("", "is empty; wanted a line of headings"),
        ('file,label\n"a.mp4,0\n' + "x" * 200_000, "not valid CSV"),
    ],
)
def test_a_broken_csv_is_a_user_error(tmp_path: Path, put: Callable[..., Path], text: str, message: str) -> None:
    put("a.mp4")
    with pytest.raises(UserError, match=message):
        indexed(tmp_path, labels_csv=put("labels.csv", text))


def test_a_csv_that_is_not_there_or_not_text_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_labels(tmp_path / "gone.csv")
    (tmp_path / "bytes.csv").write_bytes(b"file,label\n\x81,1\n")
    with pytest.raises(UserError, match="not readable"):
        read_labels(tmp_path / "bytes.csv")


@pytest.mark.parametrize("name", ["../x.mp4", "/x.mp4", "a/../../x.mp4", "..\\x.mp4", ""])
@pytest.mark.parametrize("place", ["name", "original"])
def test_a_metadata_path_outside_its_folder_is_refused(tmp_path: Path, name: str, place: str) -> None:
    if place == "original" and not name:
        pytest.skip("an empty original is none")
    entries = {name: {"label": "REAL"}} if place == "name" else {"a.mp4": {"label": "FAKE", "original": name}}
    (tmp_path / "metadata.json").write_text(json.dumps(entries))
    with pytest.raises(UserError, match="is no file name inside its folder"):
        read_metadata(tmp_path / "metadata.json", "part")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable as JSON"),
        ("", "not readable as JSON"),
        ("[" * 100_000, "not readable as JSON"),
        ("[1]", "an object of objects"),
        ('{"a.mp4": "FAKE"}', "an object of objects"),
        ('{"a.mp4": {"label": "FALSE"}}', "label 'FALSE'"),
        ('{"a.mp4": {"label": true}}', "label True"),
        ('{"a.mp4": {"label": "FAKE", "original": 7}}', "no file name"),
    ],
)
def test_a_broken_metadata_file_is_a_user_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "metadata.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_metadata(tmp_path / "metadata.json", "")


def test_metadata_of_videos_that_are_elsewhere_is_usual(tmp_path: Path, put: Callable[..., Path]) -> None:
    put("a.mp4")
    put("metadata.json", json.dumps({"a.mp4": {"label": "REAL"}, "b.mp4": {"label": "FAKE"}}))
    assert indexed(tmp_path)["label"].tolist() == [0]


def test_a_missing_folder_a_file_and_an_empty_folder_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not exist; give the folder"):
        find_videos(tmp_path / "gone")
    with pytest.raises(UserError, match="holds no video"):
        find_videos(tmp_path)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UserError, match="is a file; wanted a folder"):
        find_videos(tmp_path / "a.mp4")


def audio_only(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for i in range(20):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            sound.sample_rate, sound.pts = 16000, 1024 * i
            container.mux(stream.encode(sound))
        container.mux(stream.encode(None))


def test_files_that_are_no_videos_are_rows_with_a_reason(tmp_path: Path, put: Callable[..., Path], clip: bytes) -> None:
    put("zero.mp4", b"")
    put("text.mp4", "hello")
    put("noise.mkv", np.random.default_rng(0).bytes(5000))
    put("headless.mp4", clip[len(clip) // 2 :])
    put("cut.mp4", clip[: len(clip) // 2])
    audio_only(tmp_path / "sound.mp4")
    (tmp_path / "nowhere.mp4").symlink_to(tmp_path / "gone")
    found = indexed(tmp_path)
    assert len(found) == 7 and (found["status"] == "bad").all()
    assert found["reason"].str.len().min() > 10 and (found["n_frames"] == 0).all()
    put("good.mp4")
    assert indexed(tmp_path).loc["good.mp4", "status"] == "ok"


def test_a_video_of_one_frame_is_a_video(tmp_path: Path) -> None:
    write_clip(tmp_path / "one.mp4", [np.zeros((48, 64, 3), np.uint8)], 25)
    row = indexed(tmp_path).iloc[0]
    assert (row["status"], row["n_frames"]) == ("ok", 1)


NAMES = ["with space.mp4", 'it\'s "quoted".mp4', "<b>bold<_b>&amp;.mp4", "two\nlines.mp4", "Zoë 视频 🎬.mp4"]
NAMES += ["-dash.mp4", "%s{0}.mp4"]


def test_names_with_any_letters_are_rows_that_lead_back_to_their_files(
    tmp_path: Path, put: Callable[..., Path]
) -> None:
    for name in NAMES:
        put(f"sub dir/{name}")
    put(b"caf\xe9.mp4")
    put(b"d\xe9/metadata.json", json.dumps({"x.mp4": {"label": "FAKE"}}))
    put(b"d\xe9/x.mp4")
    found = indexed(tmp_path)
    assert (found["status"] == "ok").all() and len(found) == len(NAMES) + 2
    assert "caf\\xe9.mp4" in found.index and found.loc["d\\xe9/x.mp4", "label"] == 1
    for video_id in found.index:
        assert path_of(tmp_path, video_id).is_file() and video_id_of(path_of(tmp_path, video_id), tmp_path) == video_id


def test_a_limit_takes_videos_from_all_folders(tmp_path: Path, put: Callable[..., Path]) -> None:
    for part in "abc":
        for number in range(2):
            put(f"{part}/{number}.mp4")
    assert indexed(tmp_path, limit=3).index.tolist() == ["a/0.mp4", "b/0.mp4", "c/0.mp4"]
    assert len(indexed(tmp_path, limit=99)) == 6


def test_videos_can_be_skipped_and_a_typo_in_skip_is_an_error(tmp_path: Path, put: Callable[..., Path]) -> None:
    put("a.mp4")
    put("b.mp4")
    assert indexed(tmp_path, Index(skip=("a.mp4",))).index.tolist() == ["b.mp4"]
    with pytest.raises(UserError, match=r"index\.skip: 'c\.mp4' is not below"):
        indexed(tmp_path, Index(skip=("c.mp4",)))


def test_test_folders_below_each_other_are_test_and_their_namesakes_are_not(
    tmp_path: Path, put: Callable[..., Path]
) -> None:
    for name in ("test_videos/a.mp4", "test_videos/deep/b.mp4", "test_videos_old/c.mp4"):
        put(name)
    assert indexed(tmp_path)["split"].tolist() == ["test", "test", "train"]
    with pytest.raises(UserError, match=r"index\.test_folders"):
        indexed(tmp_path, Index(test_folders=("../out",)))


def test_equal_bytes_have_equal_hashes(tmp_path: Path, put: Callable[..., Path]) -> None:
    put("a.mp4")
    put("b.mp4")
    first, second = indexed(tmp_path)["sha256"]
    assert first == second


def test_videos_and_labels_of_a_linked_part_are_found_and_a_link_back_is_not_followed(tmp_path: Path) -> None:
    part = tmp_path / "elsewhere" / "dfdc_train_part_7"
    part.mkdir(parents=True)
    (part / "a.mp4").write_bytes(b"")
    (part / "metadata.json").write_text('{"a.mp4": {"label": "FAKE"}}')
    root = tmp_path / "root"
    root.mkdir()
    (root / "part").symlink_to(part)
    (part / "back").symlink_to(root)
    assert [video_id_of(path, root) for path in find_videos(root)] == ["part/a.mp4"]
    assert collect_notes(root, {"part/a.mp4"}, None)["part/a.mp4"].label == 1

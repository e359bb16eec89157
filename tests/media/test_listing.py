"""The index: every file is a row with its state, every label comes from somebody who said it."""

import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepfake.errors import UserError
from deepfake.media.clips import write_clip
from deepfake.media.file_facts import lost_file, probe_file
from deepfake.media.listing import (
    EXTENSIONS,
    collect_notes,
    find_videos,
    index_videos,
    list_folder,
    path_of,
    read_labels,
    read_metadata,
    video_id_of,
)
from deepfake.settings import Index
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
    table = index_videos(root, settings, **options)  # type: ignore[arg-type]
    return check(VIDEOS, table).to_pandas().set_index("video_id")


def test_dfdc_parts_give_labels_originals_and_parts(tmp_path: Path, put: Callable[..., Path]) -> None:
    for name in ("dfdc_train_part_0/a.mp4", "dfdc_train_part_0/b.mp4", "dfdc_train_part_1/c.mp4", "test_videos/d.mp4"):
        put(name)
    entries = {
        "a.mp4": {"label": "REAL", "split": "train", "original": None},
        "b.mp4": {"label": "FAKE", "split": "train", "original": "a.mp4"},
    }
    put("dfdc_train_part_0/metadata.json", json.dumps(entries))
    put("dfdc_train_part_1/metadata.json", json.dumps({"c.mp4": {"label": "FAKE", "original": "z.mp4"}}))
    table = indexed(tmp_path)
    assert table["label"].tolist()[:3] == [0, 1, 1] and pd.isna(table.loc["test_videos/d.mp4", "label"])
    assert table.loc["dfdc_train_part_0/b.mp4", "original"] == "dfdc_train_part_0/a.mp4"
    assert table.loc["dfdc_train_part_1/c.mp4", "original"] == "dfdc_train_part_1/z.mp4"
    assert table["part"].tolist() == ["dfdc_train_part_0"] * 2 + ["dfdc_train_part_1", "test_videos"]
    assert table["split"].tolist() == ["train"] * 3 + ["test"]
    row = table.iloc[0]
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
    table = indexed(tmp_path)
    assert table.index.tolist() == ["a.mp4", "deep/er/b.MP4"] and table["part"].tolist() == [".", "deep/er"]
    assert table["label"].isna().all() and (table["status"] == "ok").all()


def test_a_csv_gives_labels_and_the_columns_beside_them(tmp_path: Path, put: Callable[..., Path]) -> None:
    for name in "abcd":
        put(f"{name}.mp4")
    rows = ["filename,label,original,identity,family", "a.mp4,REAL,,Ada,", "b.mp4,fake,a.mp4,Ada,swap"]
    rows += ["./c.mp4,1", "d.mp4,"]
    table = indexed(tmp_path, labels_csv=put("labels.csv", "\ufeff" + "\r\n".join(rows)))
    assert table["label"].fillna(-1).tolist() == [0, 1, 1, -1]
    assert table.loc["b.mp4", ["original", "identity", "manipulation"]].tolist() == ["a.mp4", "Ada", "swap"]


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
    table = indexed(tmp_path)
    assert len(table) == 7 and (table["status"] == "bad").all()
    assert table["reason"].str.len().min() > 10 and (table["n_frames"] == 0).all()
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
    table = indexed(tmp_path)
    assert (table["status"] == "ok").all() and len(table) == len(NAMES) + 2
    assert "caf\\xe9.mp4" in table.index and table.loc["d\\xe9/x.mp4", "label"] == 1
    for video_id in table.index:
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


# --- What is taken and what is passed over -----------------------------------------------------------

# An ending, and with what FFmpeg writes such a file.
WRITABLE = {
    **{"gif": ("gif", "gif", "rgb8"), "vob": ("vob", "mpeg2video"), "3g2": ("3g2", "h264"), "asf": ("asf", "msmpeg4")},
    **{"divx": ("avi", "mpeg4"), "f4v": ("f4v", "h264"), "mxf": ("mxf", "mpeg2video"), "ogg": ("ogg", "libvpx")},
    **{"qt": ("mov", "h264"), "dv": ("dv", "dvvideo"), "nut": ("nut", "mpeg4"), "rm": ("rm", "rv10")},
    **{"wtv": ("wtv", "mpeg2video"), "ivf": ("ivf", "libvpx"), "gxf": ("gxf", "mpeg2video"), "trp": ("mpegts", "h264")},
    **{"m2v": ("mpeg2video", "mpeg2video"), "m1v": ("mpeg1video", "mpeg1video"), "swf": ("swf", "flv")},
    **{"y4m": ("yuv4mpegpipe", "rawvideo"), "mjpg": ("mjpeg", "mjpeg", "yuvj420p"), "mk3d": ("matroska", "h264")},
    **{"mj2": ("mp4", "mpeg4"), "avc": ("h264", "h264"), "mpe": ("mpeg", "mpeg1video"), "3gp2": ("3gp", "mpeg4")},
}
STUDIO = {"dv", "gxf"}  # formats of one size


def write_as(path: Path, container: str, codec: str, pixel_format: str = "yuv420p") -> None:
    """A clip of six grey frames."""
    import av

    width_px, height_px = (720, 576) if path.suffix[1:] in STUDIO else (176, 144)
    with av.open(str(path), "w", format=container) as file:
        stream: Any = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, pixel_format
        for i in range(6):
            grey = np.full((height_px, width_px, 3), 40 * i, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = i, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def test_whatever_the_demuxer_reads_is_taken(tmp_path: Path) -> None:
    for ending, how in WRITABLE.items():
        write_as(tmp_path / f"clip.{ending}", *how)
    found = list_folder(tmp_path)
    assert {path.suffix[1:] for path in found.videos} == set(WRITABLE) and not found.summary_lines()
    unread = {path.suffix: file.reason for path in found.videos for file in [probe_file(path)] if file.probe is None}
    assert not unread


def test_sound_and_still_pictures_are_no_videos() -> None:
    assert not EXTENSIONS & {".mp3", ".m4a", ".wav", ".flac", ".jpg", ".png", ".heic", ".avif", ".mka", ".txt"}


def test_what_is_passed_over_is_counted_and_named(tmp_path: Path, put: Callable[..., Path]) -> None:
    for name in ("a.mp4", "b.mp4.crdownload", "c.CRDOWNLOAD", "noending", "deep/notes.txt", "odd.a\nb"):
        put(name)
    for name in (".a.mp4", "._b.mov", ".DS_Store", ".git/c.mp4"):
        put(name)
    found = list_folder(tmp_path)
    assert [path.name for path in found.videos] == ["a.mp4"]
    assert found.summary_lines() == ["passed over: 2 .crdownload, 2 hidden, 1 .a\\nb, 1 .txt, 1 without an ending"]


def test_a_summary_names_the_commonest_endings_and_counts_the_others(tmp_path: Path, put: Callable[..., Path]) -> None:
    put("a.mp4")
    for number in range(10):
        for copy in range(3 if number == 9 else 1):
            put(f"{copy}.x{number}", "")
    endings = ", ".join(f"1 .x{number}" for number in range(7))
    assert list_folder(tmp_path).summary_lines() == [f"passed over: 3 .x9, {endings}, 2 others"]


def test_a_folder_without_videos_says_what_it_holds(tmp_path: Path, put: Callable[..., Path]) -> None:
    put("a.mp4.part")
    put("b")
    with pytest.raises(UserError, match=r"holds no video: .*; passed over: 1 \.part, 1 without an ending"):
        list_folder(tmp_path)


def test_folders_that_cannot_be_listed_are_named(
    tmp_path: Path, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a.mp4")
    put("closed/b.mp4")
    listed = os.scandir  # permissions would not stop a test that runs as root

    def refuse(path: Any) -> Any:
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = list_folder(tmp_path)
    assert [path.name for path in found.videos] == ["a.mp4"]
    assert found.summary_lines() == [f"not listed: {str(tmp_path / 'closed')!r} (Permission denied)"]


def test_entries_that_are_no_files_are_rows_with_a_reason_at_once(tmp_path: Path, put: Callable[..., Path]) -> None:
    put("good.mp4")
    (tmp_path / "nowhere.mp4").symlink_to("gone")
    (tmp_path / "itself.mp4").symlink_to("itself.mp4")
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")  # opening it would wait for a writer
    table = indexed(tmp_path)
    assert table["status"].to_dict() == {
        "good.mp4": "ok",
        "itself.mp4": "bad",
        "nowhere.mp4": "bad",
        "pipe.mp4": "bad",
    }
    for name in ("nowhere.mp4", "itself.mp4"):
        assert "found a link that leads to no file" in table.loc[name, "reason"]
    assert "found a pipe, a socket or a device" in table.loc["pipe.mp4", "reason"]


def test_a_file_that_vanishes_or_may_not_be_read_is_a_row(
    tmp_path: Path, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put("a.mp4")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr("deepfake.media.file_facts.Source", refuse)
        file = probe_file(path)
    assert file.reason == "video 'a.mp4': could not be read (Permission denied); try again when it can be"
    path.unlink()
    assert "found nothing" in str(probe_file(path).reason)
    assert lost_file(path, "stopped").size_bytes == 0
    (tmp_path / "loop").symlink_to("loop")
    assert lost_file(tmp_path / "loop", "stopped").size_bytes == 0


# --- metadata.json by the rules of a CSV -------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_metadata_is_read_in_every_usual_coding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "metadata.json").write_text('{"ü.mp4": {"label": "FAKE"}}', encoding=encoding)
    assert read_metadata(tmp_path / "metadata.json", "p")["p/ü.mp4"].label == 1


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('{"a.mp4": {"Label": " real "}}', 0),
        ('{"a.mp4": {"is_fake": true}}', 1),
        ('{"a.mp4": {"target": 1.0}}', 1),
        ('{"./a.mp4": {"class": "0"}}', 0),
        ('{".\\\\a.mp4": {"label": "FAKE"}}', 1),
        ('{"a.mp4": {"label": NaN}}', None),
    ],
)
def test_labels_of_metadata_are_named_and_spelt_as_in_a_csv(tmp_path: Path, text: str, label: int | None) -> None:
    (tmp_path / "metadata.json").write_text(text)
    assert read_metadata(tmp_path / "metadata.json", "")["a.mp4"].label == label


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a.mp4": {"label": "REAL"}, "a.mp4": {"label": "FAKE"}}', r"'a\.mp4' stands there twice"),
        ('{"a.mp4": {"label": "REAL"}, "./a.mp4": {}}', "twice, spelt in two ways"),
        ('{"a.mp4": {"label": "REAL", "Label": "FAKE"}}', "'label' and 'Label' both name the label"),
        ('{"a.mp4": {"label": "REAL", "label": "FAKE"}}', "'label' stands there twice"),
        ('{"a.mp4": {"is_fake": "perhaps"}}', "has label 'perhaps'"),
    ],
)
def test_no_label_of_metadata_is_overwritten_or_guessed(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "metadata.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_metadata(tmp_path / "metadata.json", "")


def test_metadata_without_any_label_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "metadata.json").write_text('{"a.mp4": {"truth": "FAKE"}}')
    assert read_metadata(tmp_path / "metadata.json", "")["a.mp4"].label is None
    assert "no entry says label or target or is_fake or class" in caplog.text


def test_metadata_that_is_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metadata.json")
    with pytest.raises(UserError, match="no regular file"):
        read_metadata(tmp_path / "metadata.json", "")


@pytest.mark.parametrize(("on_disk", "written"), [("u\u0308.mp4", "ü.mp4"), ("ü.mp4", "u\u0308.mp4")])
def test_a_label_belongs_to_its_file_however_a_system_spells_it(tmp_path: Path, on_disk: str, written: str) -> None:
    (tmp_path / "labels.csv").write_text(f"file,label\n{written},FAKE\n", encoding="utf-8")
    notes = collect_notes(tmp_path, {on_disk, "a.mp4"}, tmp_path / "labels.csv")
    assert {name: note.label for name, note in notes.items()} == {on_disk: 1}


def test_two_files_of_one_spelling_each_need_their_own_label(tmp_path: Path) -> None:
    ids = {"ü.mp4", "u\u0308.mp4"}
    (tmp_path / "labels.csv").write_text("file,label\nü.mp4,FAKE\nu\u0308.mp4,REAL\n", encoding="utf-8")
    notes = collect_notes(tmp_path, ids, tmp_path / "labels.csv")
    assert {name: note.label for name, note in notes.items()} == {"ü.mp4": 1, "u\u0308.mp4": 0}


def test_an_unknown_name_with_odd_letters_hints_at_the_coding(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes("file,label\nü.mp4,FAKE\n".encode("mac_roman"))
    with pytest.raises(UserError, match="save the file as UTF-8"):
        collect_notes(tmp_path, {"ü.mp4"}, tmp_path / "labels.csv")

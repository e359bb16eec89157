"""One reader of the CSV files that people write: tolerant about form, strict about what they say."""

from pathlib import Path

import pytest

from deepfake.errors import UserError
from deepfake.evaluation import labelled as evaluation_labelled
from deepfake.labels import read_labels, read_table
from deepfake.media import listing

PLAIN = "file,label\na.mp4,REAL\nb/ü.mp4,FAKE\n"
WANTED = {"a.mp4": 0, "b/ü.mp4": 1}


def labels_in(path: Path, data: bytes | str) -> dict[str, int | None]:
    """Labels by name, as read from a file with these bytes."""
    path = path / "labels.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return {entry.name: entry.label for entry in read_labels(path)}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t", ", "])
def test_every_usual_coding_line_end_and_separator_is_read(
    tmp_path: Path, encoding: str, line_end: str, separator: str
) -> None:
    text = PLAIN.replace(",", separator).replace("\n", line_end)
    assert labels_in(tmp_path, text.encode(encoding)) == WANTED


def test_big_endian_utf_16_is_read_by_its_mark(tmp_path: Path) -> None:
    assert labels_in(tmp_path, b"\xfe\xff" + PLAIN.encode("utf-16-be")) == WANTED


@pytest.mark.parametrize("name", ["file", "filename", "Filename", "video_id", "NAME", "path"])
@pytest.mark.parametrize("label", ["label", "Label", "target", "is_fake", "class"])
def test_the_usual_headings_are_known_in_small_and_capital_letters(tmp_path: Path, name: str, label: str) -> None:
    assert labels_in(tmp_path, f"{label},{name}\n0,a.mp4\n1,b.mp4\n") == {"a.mp4": 0, "b.mp4": 1}


def test_of_two_headings_that_could_be_meant_the_plainer_one_counts(tmp_path: Path) -> None:
    assert labels_in(tmp_path, "class,name,label,file\n1,Ada,0,a.mp4\n") == {"a.mp4": 0}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("sep=;\r\nfile;label\r\na.mp4;1\r\n", {"a.mp4": 1}),
        ("file,label,,,\na.mp4,REAL,,,\n,,,,\nb.mp4,FAKE,,,\n", {"a.mp4": 0, "b.mp4": 1}),
        ("\n\nfile,label\n\na.mp4,0\n  \n\n", {"a.mp4": 0}),
        ("file,label\nclips\\new\\a.mp4,1\n.\\b.mp4,0\n", {"clips/new/a.mp4": 1, "b.mp4": 0}),
        ('file, label\n "a, b.mp4", real \n', {"a, b.mp4": 0}),
        ('file;label;note\na.mp4;0;"one; two, three"\n', {"a.mp4": 0}),
        ('file,label,"one;two;three;four"\na.mp4,0,x\n', {"a.mp4": 0}),
        ("file,label,identity\na.mp4,1\n", {"a.mp4": 1}),
        ("file,label\na.mp4,\n", {"a.mp4": None}),
        ("file,label\na.mp4,1.0\nb.mp4,0.0\n", {"a.mp4": 1, "b.mp4": 0}),
        ("file,is_fake\na.mp4,True\nb.mp4,false\n", {"a.mp4": 1, "b.mp4": 0}),
        ("file,label\n", {}),
    ],
)
def test_odd_forms_are_read(tmp_path: Path, text: str, wanted: dict[str, int | None]) -> None:
    assert labels_in(tmp_path, text) == wanted


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("file,label\na.mp4,0\nb.mp4\n", r"labels\.csv line 3: 1 cells, wanted 2; there is none for 'label'"),
        ("file,label\na,b.mp4,0\n", r"line 2: 3 cells, wanted 2; quote what holds a separator"),
        ("sep=;\nfile;label\na.mp4;0;1\n", "line 3: 3 cells, wanted 2"),
        ("file,label,File\na.mp4,0,b.mp4\n", "column 'file' stands there twice"),
        ("file,label,Label\na.mp4,0,1\n", "column 'label' stands there twice"),
        ("file,label\na.mp4,0\n./a.mp4,0\n", r"line 3: 'a\.mp4' stands there twice"),
        ("file,label\nb\\a.mp4,0\nb/a.mp4,1\n", r"line 3: 'b/a\.mp4' stands there twice"),
        ("file,label\na.mp4,true\n", r"line 2: 'a\.mp4' has label 'true'; wanted REAL, FAKE, 0 or 1"),
        ("file,label\na.mp4,2\n", "has label '2'"),
        ("file,label\na.mp4,0.5\n", r"has label '0\.5'"),
        ("file,label\n  ,1\n", "line 2: no file name"),
        ("a.mp4,1\nb.mp4,0\n", r"found columns a\.mp4, 1; wanted file or filename .*, and label or target"),
        ("datei;label\na.mp4;1\n", "found columns datei, label; wanted file or filename"),
        ('file,label\n"a.mp4,0\n', "not valid CSV"),
        ("", "is empty"),
        (b"file,label\n\x81.mp4,1\n", "not readable as UTF-8 or Windows-1252 text"),
        (b"PK\x03\x04\0\0", "a spreadsheet's own format is none"),
    ],
)
def test_nothing_is_guessed_or_lost(tmp_path: Path, data: bytes | str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        labels_in(tmp_path, data)


@pytest.mark.parametrize("encoding", ["utf-32", "utf-16-le", "utf-16-be"])
def test_wide_codings_are_read_with_and_without_a_mark(tmp_path: Path, encoding: str) -> None:
    assert labels_in(tmp_path, PLAIN.encode(encoding)) == WANTED


def test_a_file_saved_with_two_marks_is_read(tmp_path: Path) -> None:
    assert labels_in(tmp_path, f"\ufeff\ufeff{PLAIN}") == WANTED


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("file|label\na.mp4|1\n", "Separate cells by commas, semicolons or tabs"),
        ("file label\na.mp4 1\n", "Separate cells by commas"),
        ('"file,label"\n"a.mp4,1"\n', "quote single cells, not lines"),
        ("a.mp4,1\nb.mp4,0\n", "The first line has to hold the headings, such as file,label"),
        ("datei;klasse\na.mp4;1\n", r"line 1: found columns datei, klasse; wanted"),
        ("\n\n# mine\nfile,label\na.mp4,1\n", "line 3: found columns # mine"),
        (f"<html>{'x' * 9999}</html>", r"found columns <html>x{194}; wanted"),
    ],
)
def test_an_error_hints_at_what_went_wrong(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        labels_in(tmp_path, text)


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 6: no file name"):
        labels_in(tmp_path, 'file,label\n\n"two\nlines.mp4",1\n\n,0\n')


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.csv does not exist"):
        read_labels(tmp_path / "gone.csv")


def test_only_what_is_asked_for_must_be_in_every_row(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_text("file,Identity,x\na.png,Ada\nb.png,,3\n")
    table = read_table(path, ["file"], ["identity"])
    assert [dict(row.cells) for row in table.rows] == [
        {"file": "a.png", "identity": "Ada", "x": ""},
        {"file": "b.png", "identity": "", "x": "3"},
    ]


def test_stage_01_and_the_evaluation_read_the_same_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes("Name;Class;Identity\r\nb\\ü.mp4;FAKE;Zoë\r\na.mp4;REAL;Ada;;\r\n".encode("cp1252"))
    notes = listing.read_labels(path)
    assert {name: (note.label, note.identity) for name, note in notes.items()} == {
        "b/ü.mp4": (1, "Zoë"),
        "a.mp4": (0, "Ada"),
    }
    labelled = evaluation_labelled.read_labels(path)
    assert [(video.name, video.label, video.columns["identity"]) for video in labelled] == [
        ("b/ü.mp4", 1, "Zoë"),
        ("a.mp4", 0, "Ada"),
    ]


def test_a_video_without_a_label_is_unlabelled_in_stage_01_and_refused_by_the_evaluation(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,label\na.mp4,\n")
    assert listing.read_labels(path)["a.mp4"].label is None
    with pytest.raises(UserError, match=r"line 2: 'a\.mp4' has no label; wanted REAL, FAKE, 0 or 1"):
        evaluation_labelled.read_labels(path)


def test_a_label_file_of_stage_01_cannot_name_a_video_outside_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,label\n..\\a.mp4,1\n")
    with pytest.raises(UserError, match="no file name inside its folder"):
        listing.read_labels(path)

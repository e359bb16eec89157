"""The submission: one row for every video asked for, in the order asked for, nothing passed over."""

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from deepfake.ensemble.submission import Submission, make_submission, read_sample, short_names, write_submission
from deepfake.errors import UserError


def scores(**p_fake: float) -> pd.DataFrame:
    return scored([(name, p, None) for name, p in p_fake.items()])


def scored(rows: list[tuple[str, float, str | None]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["video_id", "p_fake", "fallback"])


def rows_of(submission: Submission) -> list[list[str]]:
    return list(csv.reader(io.StringIO(submission.csv_bytes().decode(), newline="")))


def test_the_rows_stand_in_the_order_of_the_sample() -> None:
    submission = make_submission(
        scored([("t/a.mp4", 0.2, None), ("t/b.mp4", 0.7, None)]), ["b.mp4", "a.mp4"], 0.5, 0.01
    )
    assert rows_of(submission) == [["filename", "label"], ["b.mp4", "0.700000"], ["a.mp4", "0.200000"]]
    assert submission.fallbacks == {} and submission.left_out == []


def test_without_a_sample_the_rows_are_sorted_by_name() -> None:
    assert make_submission(scores(c=0.1, a=0.2, b=0.3), None, 0.5, 0.01).names == ["a", "b", "c"]


def test_a_missing_video_gets_the_prior_and_counts() -> None:
    submission = make_submission(scores(a=0.2), ["a", "gone"], 0.4, 0.01)
    assert submission.p_fake == [0.2, 0.4]
    assert submission.fallbacks == {"gone": "no such video in the test folders"}


def test_an_extra_video_is_left_out_and_counted() -> None:
    submission = make_submission(scores(a=0.2, extra=0.9), ["a"], 0.5, 0.01)
    assert submission.names == ["a"] and submission.left_out == ["extra"]


def test_a_video_without_a_face_counts_as_a_fallback_with_its_reason() -> None:
    submission = make_submission(scored([("a", 0.5, "no_face"), ("b", 0.9, None)]), ["a", "b"], 0.5, 0.01)
    assert submission.fallbacks == {"a": "no_face"} and submission.p_fake == [0.5, 0.9]


def test_every_row_stays_within_the_clip_the_prior_too() -> None:
    submission = make_submission(scores(a=0.0, b=1.0, c=0.5), ["a", "b", "c", "gone"], 0.001, 0.02)
    assert submission.p_fake == [0.02, 0.98, 0.5, 0.02]


def test_files_of_one_name_in_two_folders_go_by_their_whole_path() -> None:
    assert short_names(["x/a.mp4", "y/a.mp4", "y/b.mp4"]) == {
        "x/a.mp4": "x/a.mp4",
        "y/a.mp4": "y/a.mp4",
        "b.mp4": "y/b.mp4",
    }
    both = scored([("x/a.mp4", 0.1, None), ("y/a.mp4", 0.9, None), ("y/b.mp4", 0.5, None)])
    assert make_submission(both, None, 0.5, 0.0).names == ["b.mp4", "x/a.mp4", "y/a.mp4"]
    submission = make_submission(both, ["y/a.mp4", "a.mp4", "x/a.mp4", "b.mp4"], 0.4, 0.0)
    assert submission.p_fake == [0.9, 0.4, 0.1, 0.5]
    assert submission.fallbacks == {"a.mp4": "several test videos have this name; the sample must say their folders"}


def test_a_sample_may_name_whole_paths() -> None:
    submission = make_submission(scored([("t/a.mp4", 0.2, "no_face"), ("t/b.mp4", 0.7, None)]), ["t/a.mp4"], 0.5, 0.01)
    assert submission.p_fake == [0.2] and submission.left_out == ["b.mp4"]


def test_a_sample_of_other_videos_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"names 2 videos, such as 'x', and none of them .* check index\.test_folders"):
        make_submission(scores(a=0.2), ["x", "y"], 0.5, 0.01)


@pytest.mark.parametrize(
    "name", ["a,b.mp4", 'say "hi".mp4', "two\nlines.mp4", "return\r.mp4", "Ünï 视频.mp4", "<b>.mp4", " a .mp4", "'.mp4"]
)
def test_names_with_any_letters_survive_a_csv_reader(name: str, tmp_path: Path) -> None:
    submission = make_submission(scored([(name, 0.25, None), ("plain.mp4", 0.5, None)]), None, 0.5, 0.01)
    assert rows_of(submission)[0] == ["filename", "label"] and [name, "0.250000"] in rows_of(submission)
    write_submission(tmp_path / "submission.csv", submission)
    assert sorted(read_sample(tmp_path / "submission.csv")) == sorted(submission.names)
    assert pd.read_csv(tmp_path / "submission.csv")["filename"].isin(submission.names).all()


def sample(folder: Path, data: bytes) -> Path:
    (folder / "sample.csv").write_bytes(data)
    return folder / "sample.csv"


def test_a_sample_is_read_in_order_with_other_columns_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = sample(tmp_path, b"\xef\xbb\xbffilename,label\r\nb.mp4,0.5\r\na.mp4,0.5\r\n")
    assert read_sample(path) == ["b.mp4", "a.mp4"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "wanted filename and label"),
        (b"name,label\na,1\n", "wanted filename and label"),
        (b"filename,label\n", "no rows"),
        (b"filename,label\na,1\na,0\n", "'a' stands there twice"),
        (b"filename,label\n\xff\xfe,1\n", "cannot be read"),
        (b'filename,label\n"' + b"x" * 200_000, "cannot be read"),
    ],
)
def test_a_broken_sample_is_a_user_error(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_sample(sample(tmp_path, data))


def test_a_sample_that_is_not_there_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_sample(tmp_path / "gone.csv")

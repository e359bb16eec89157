"""The submission CSV: one row for every video that was asked for, in the order that was asked for."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from deepfake.errors import UserError
from deepfake.files import write_whole

if TYPE_CHECKING:  # half a second of import, and `deepfake predict` takes no table
    import pandas as pd

MIN_VIDEOS_TO_DIFFER = 11  # ten videos of one kind may well get the same score


@dataclass(frozen=True)
class Submission:
    """Rows in order, and what had to be filled in."""

    names: list[str]
    p_fake: list[float]
    fallbacks: dict[str, str]
    left_out: list[str]

    def csv_bytes(self) -> bytes:
        """`filename,label` as UTF-8; names with commas, quotes or line ends are quoted."""
        return csv_bytes([("filename", "label"), *zip(self.names, map(rounded, self.p_fake), strict=True)])


def rounded(p_fake: float) -> str:
    """A probability with six digits, enough for every metric."""
    return f"{p_fake:.6f}"


def csv_bytes(rows: Sequence[Sequence[object]]) -> bytes:
    """Rows as a CSV file's bytes."""
    text = io.StringIO(newline="")
    # Of line ends the writer quotes only its own.
    has_return = any("\r" in str(value) for row in rows for value in row)
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def read_sample(path: Path) -> list[str]:
    """The file names of a sample submission, in order."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if "filename" not in (reader.fieldnames or []):
                raise UserError(f"{path}: columns {reader.fieldnames}; wanted filename and label")
            names = [row["filename"] for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"sample submission {str(path)!r} cannot be read: {error}") from None
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UserError(f"{path}: {name!r} stands there twice; keep one")
        seen.add(name)
    if not names:
        raise UserError(f"{path}: no rows; wanted one a video")
    return names


def short_names(video_ids: Sequence[str]) -> dict[str, str]:
    """video_id of each file name; the whole id where two files share a name."""
    names = [PurePosixPath(video_id).name for video_id in video_ids]
    n_alike = Counter(names)
    return {
        (name if n_alike[name] == 1 else video_id): video_id for name, video_id in zip(names, video_ids, strict=True)
    }


def make_submission(scores: pd.DataFrame, sample: list[str] | None, prior: float, clip_p: float) -> Submission:
    """Lay the scores (rows of video_scores of one model) out in the sample's order, or sorted by name without one.

    A name of the sample without a video gets the prior and counts as a fallback; a video that the
    sample does not name is left out and counted.
    """
    by_name = short_names(scores["video_id"].tolist())
    by_id = scores.set_index("video_id")
    repeated = {PurePosixPath(video_id).name for name, video_id in by_name.items() if name == video_id}
    names = sample if sample is not None else sorted(by_name)
    p_fake, fallbacks, used = [], {}, set()
    for name in names:
        video_id = by_name.get(name, name)
        if video_id not in by_id.index:
            p_fake.append(_clipped(prior, clip_p))
            shared = "several test videos have this name; the sample must say their folders"
            fallbacks[name] = shared if name in repeated else "no such video in the test folders"
            continue
        used.add(video_id)
        row = by_id.loc[video_id]
        p_fake.append(_clipped(row["p_fake"], clip_p))
        if isinstance(row["fallback"], str):
            fallbacks[name] = row["fallback"]
    if sample is not None and not used:
        raise UserError(
            f"the sample submission names {len(names)} videos, such as {names[0]!r}, and none of them is among the "
            f"{len(by_name)} test videos, such as {next(iter(by_name), 'none')!r}; check index.test_folders"
        )
    left_out = sorted(name for name, video_id in by_name.items() if video_id not in used)
    return Submission(names, p_fake, fallbacks, left_out)


def _clipped(p_fake: float, clip_p: float) -> float:
    return float(min(max(p_fake, clip_p), 1 - clip_p))


def write_submission(path: Path, submission: Submission) -> None:
    """Write the CSV whole."""
    write_whole(path, submission.csv_bytes())


def count_reasons(fallbacks: dict[str, str]) -> dict[str, int]:
    """How many videos got the prior, by the short reason."""
    return dict(sorted(Counter(reason.partition(":")[0] for reason in fallbacks.values()).items()))

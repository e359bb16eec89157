"""The page of `deepfake people`: a row of faces for each person, with the videos they are in; no name but of files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from markupsafe import Markup

from deepfake.catalog.people import telling_places
from deepfake.faces.extracted import StoredFace, by_track, stored_crop
from deepfake.files import current_commit, printable
from deepfake.report.strips import data_url, page_environment, source_hash

if TYPE_CHECKING:
    import pandas as pd

    Faces = Mapping[str, Sequence[StoredFace]]

HERE = Path(__file__).parent
FACE_PX, QUALITY = 96, 80
MOST_PERSONS = 300  # shown, those in most videos first; the CSV and the table have all
MOST_FACES = 12  # of a person
MOST_VIDEOS = 24  # named of a person
MOST_LEFT_OUT = 100  # tracks that cannot be compared
COLUMNS = ("person", "video_id", "track", "shot", "from_s", "to_s", "n_frames", "likeness")


@dataclass(frozen=True)
class Shown:
    """One track as the page shows it."""

    url: str
    video: str
    href: str
    from_s: float
    to_s: float
    likeness: float | None


@dataclass(frozen=True)
class Person:
    """One person: faces of some tracks, and the videos with the times at which they are seen."""

    number: int
    n_tracks: int
    n_videos: int
    faces: Sequence[Shown]
    videos: Sequence[tuple[str, str, str]]


def seen_table(people: pd.DataFrame, faces: Faces) -> pd.DataFrame:
    """Rows of a people table with shot and times of each track, person by person, the comparable ones first."""
    import pandas as pd

    times = [
        (video_id, own[0].track, own[0].shot, own[0].time_s, own[-1].time_s, len(own))
        for video_id, all_faces in faces.items()
        for own in by_track(all_faces)
    ]
    seen = pd.DataFrame(times, columns=["video_id", "track", "shot", "from_s", "to_s", "n_frames"])
    table = people.merge(seen, on=["video_id", "track"])[list(COLUMNS)]
    return table.sort_values(["person", "video_id", "track"], na_position="last", ignore_index=True)


def people_csv(people: pd.DataFrame, faces: Faces) -> bytes:
    """The same as CSV, the person empty where a face is too small to be compared."""
    table = seen_table(people, faces).round({"from_s": 3, "to_s": 3, "likeness": 4})
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text.encode("utf-8", "surrogateescape")


def summary(people: pd.DataFrame, n_videos: int) -> list[str]:
    """How many persons there are, in one line."""
    known = people[people["person"].notna()]
    in_several = int((known.drop_duplicates(["person", "video_id"]).groupby("person").size() > 1).sum())
    small = len(people) - len(known)
    words = f"; {small} tracks too small to be compared" if small else ""
    return [
        f"people: {len(people)} tracks in {n_videos} videos: {known['person'].nunique()} persons, {in_several} of them "
        f"in several videos{words}"
    ]


def people_page(people: pd.DataFrame, faces: Faces, work_dir: Path, videos: Mapping[str, Path], page: Path) -> bytes:
    """The page as UTF-8; it names videos relative to the folder of `page`."""
    seen = seen_table(people, faces)
    known = seen[seen["person"].notna()]
    counts = known.groupby("person").agg(n_videos=("video_id", "nunique"), n_tracks=("track", "size"))
    order = counts.sort_values(["n_videos", "n_tracks"], ascending=False, kind="stable").index.tolist()
    looks = _Looks(faces, work_dir, videos, page)
    rows_of = dict(iter(known.groupby("person")))
    persons = [looks.person(int(number), rows_of[number]) for number in order[:MOST_PERSONS]]
    left_out = seen[seen["person"].isna()]
    style = "".join((HERE / name).read_text(encoding="utf-8") for name in ("check.css", "people.css"))
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{source_hash(style)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    environment = page_environment()
    environment.filters |= {"visible": printable}
    text = environment.get_template("people.html.jinja").render(
        several=[person for person in persons if person.n_videos > 1],
        single=[person for person in persons if person.n_videos == 1],
        small=looks.shown(left_out.head(MOST_LEFT_OUT)),
        n_small=len(left_out),
        n_persons=len(order),
        n_shown=len(persons),
        n_videos=len(videos),
        style=Markup(style),  # noqa: S704 - ours
        policy=policy,
        commit=current_commit(),
    )
    return text.encode("utf-8", "backslashreplace")


class _Looks:
    """Tracks as the page shows them."""

    def __init__(self, faces: Faces, work_dir: Path, videos: Mapping[str, Path], page: Path) -> None:
        self._work_dir, self._videos, self._folder = work_dir, videos, page.resolve().parent
        self._tracks = {
            (video_id, own[0].track): own for video_id, all_faces in faces.items() for own in by_track(all_faces)
        }

    def person(self, number: int, rows: pd.DataFrame) -> Person:
        """The person of a number; of more tracks than are shown those of different videos first."""
        first = rows.assign(turn=rows.groupby("video_id").cumcount()).sort_values("turn", kind="stable")
        named = [
            (printable(video_id), self._href(str(video_id)), ", ".join(_times(own)))
            for video_id, own in rows.groupby("video_id", sort=True)
        ]
        faces = self.shown(first.head(MOST_FACES))
        return Person(number, len(rows), rows["video_id"].nunique(), faces, named[:MOST_VIDEOS])

    def shown(self, rows: pd.DataFrame) -> list[Shown]:
        """Each track by its most telling crop."""
        return [self._shown(row) for row in rows.to_dict("records")]

    def _shown(self, row: Mapping[str, object]) -> Shown:
        video_id, track = str(row["video_id"]), int(str(row["track"]))
        own = self._tracks[video_id, track]
        (place,) = telling_places(own, 1)
        likeness = row["likeness"]
        return Shown(
            url=data_url(stored_crop(self._work_dir, own[place]), FACE_PX, QUALITY),
            video=printable(video_id),
            href=self._href(video_id),
            from_s=own[0].time_s,
            to_s=own[-1].time_s,
            likeness=float(likeness) if isinstance(likeness, float) and likeness == likeness else None,
        )

    def _href(self, video_id: str) -> str:
        video = self._videos[video_id].resolve()
        try:
            return quote(os.fsencode(Path(os.path.relpath(video, self._folder)).as_posix()))
        except ValueError:  # two drives
            return video.as_uri()


def _times(rows: pd.DataFrame) -> list[str]:
    times = [f"{from_s:.1f} to {to_s:.1f} s" for from_s, to_s in zip(rows["from_s"], rows["to_s"], strict=True)]
    return times if len(times) <= 3 else [*times[:2], f"{len(times) - 2} more times"]

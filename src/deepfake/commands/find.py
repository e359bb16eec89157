"""Find copies: which videos a clip was seen in before, uncut or as an excerpt, and which seconds these are.

    deepfake find index FOLDER                        # once, and again when there are more: it goes on where it was
    deepfake find like clip.mp4                       # what of the clip is in the index, second by second
    deepfake find like clip.mp4 --format json
    deepfake find pairs --config configs/demo.yaml    # a data set's: the table copies, for `deepfake query`
    deepfake find index --config configs/demo.yaml    # its index alone; after stage 02 hardly a video is decoded

Found by their pictures: re-encoded, smaller, cropped by a tenth, with black bars, mirrored, with a caption, in other
colours, a little faster or slower. Not found: what is less than a second, or turned. Sound is not compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.commands.arguments import output_file, output_folder, whole_number
from deepfake.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    from deepfake.catalog.copies import Found, Indexed
    from deepfake.catalog.copy_index import Index, Key
    from deepfake.catalog.hashing import Asked, Hashed

    Kept = Callable[[Key], Hashed | None]

EXTRA = "evaluate"
INDEX = "copies.index"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True, metavar="{index,like,pairs}", prog="deepfake find")
    index = steps.add_parser("index", help="hash the videos below a folder, and add them to the index")
    index.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="videos, searched with all below it")
    index.add_argument(
        "--config", type=Path, metavar="FILE", help="settings of a data set instead: stage 01, or 01 and 02"
    )
    index.add_argument(
        "--set", action="append", default=[], metavar="STAGE.KEY=VALUE", help="lay a value over the settings"
    )
    index.add_argument("--workers", type=whole_number, default=2, metavar="N", help="videos read at once (2)")
    like = steps.add_parser("like", help="what of a clip is in the index")
    like.add_argument("clip", type=Path, metavar="CLIP", help="a video")
    like.add_argument("--format", choices=("table", "csv", "json"), default="table", help="on the screen (table)")
    like.add_argument("--out", type=output_file, metavar="FILE", help="write all rows: .csv, .json or .parquet")
    index.add_argument(
        "--index", type=output_folder, help=f"folder of the index ({INDEX}; of a data set beside its tables)"
    )
    like.add_argument("--index", type=Path, default=Path(INDEX), help=f"folder of the index ({INDEX})")
    pairs = steps.add_parser("pairs", help="index a data set, and write the table of what is a copy of what in it")
    pairs.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings of the data set: stage 01")
    pairs.add_argument(
        "--set", action="append", default=[], metavar="STAGE.KEY=VALUE", help="lay a value over the settings"
    )
    pairs.add_argument("--workers", type=whole_number, default=2, metavar="N", help="videos read at once (2)")
    return parser


def run(args: argparse.Namespace) -> None:
    if args.step == "index":
        if (args.folder is None) == (args.config is None):
            raise UserError("find index: name a folder of videos, or the settings of a data set with --config")
        if args.config is not None:
            index_data_set(args.config, args.set, args.index, args.workers)
        elif args.set:
            raise UserError("find index: --set changes the settings of a data set; it is of no use with a folder")
        else:
            index_folder(args.folder, args.index or Path(INDEX), args.workers)
    elif args.step == "pairs":
        write_pairs(args.config, args.set, args.workers)
    else:
        show_like(args.clip, args.index, args.format, args.out)


def index_folder(folder: Path, index: Path, workers: int) -> None:
    from tqdm import tqdm

    from deepfake.catalog.copies import index_videos
    from deepfake.catalog.hashing import Settings
    from deepfake.media.listing import list_folder, video_id_of
    from deepfake.stages import alone

    listing = list_folder(folder)
    paths = {(str(folder.resolve()), video_id_of(path, folder)): path for path in listing.videos}
    with alone(index), tqdm(total=len(paths), desc="videos", disable=None) as bar:
        done = index_videos(paths, index, workers, Settings(), bar.update)
    print("\n".join([*told(done), f"  -> {index}", *listing.summary_lines()]))


def told(done: Indexed) -> list[str]:
    """What an indexing came to, in lines."""
    from deepfake.files import printable

    kept = f" ({done.n_kept} when their faces were extracted)" if done.n_kept else ""
    line = f"{done.n_videos} videos: {done.n_new} hashed{kept}, {done.n_known} known before, "
    line += f"{len(done.failures)} unreadable"
    return [line, *(f"  {printable(name)}: {printable(reason)}" for name, reason in sorted(done.failures.items()))]


@dataclass(frozen=True)
class DataSet:
    """A data set that is indexed: its videos by key, its work folder, its index, and what stage 02 kept of a video."""

    paths: Mapping[Key, Path]
    work_dir: Path
    index: Path
    kept: Kept


def index_data_set(config_file: Path, given: Sequence[str], index: Path | None, workers: int) -> None:
    from deepfake.stages import alone

    found = data_set(config_file, given, index)
    with alone(found.index):
        done = indexed(found, workers)
    print("\n".join([*told(done), f"  -> {found.index}"]))


def data_set(config_file: Path, given: Sequence[str], index: Path | None) -> DataSet:
    """A data set by its settings."""
    from deepfake import tables
    from deepfake.catalog.copies import kept_by_extraction
    from deepfake.catalog.hashing import Settings
    from deepfake.media.listing import path_of
    from deepfake.settings_file import load_config

    config = load_config(config_file, given, None)
    table = config.work_dir / "videos.parquet"
    videos = tables.read(tables.VIDEOS, table)
    root = config.path(config.index.root)
    names = videos[videos["status"] == "ok"]["video_id"]
    paths = {(config.dataset, name): path_of(root, name) for name in names}
    kept = kept_by_extraction(videos, table, paths, config.work_dir, config.extract, Settings())
    return DataSet(paths, config.work_dir, index or config.work_dir / INDEX, kept)


def indexed(found: DataSet, workers: int) -> Indexed:
    from tqdm import tqdm

    from deepfake.catalog.copies import index_videos
    from deepfake.catalog.hashing import Settings

    with tqdm(total=len(found.paths), desc="index", disable=None) as bar:
        return index_videos(found.paths, found.index, workers, Settings(), bar.update, found.kept)


def write_pairs(config_file: Path, given: Sequence[str], workers: int) -> None:
    import pandas as pd
    from tqdm import tqdm

    from deepfake import tables
    from deepfake.catalog.copies import pair_row, pairs_among
    from deepfake.catalog.hashing import Settings
    from deepfake.stages import alone

    known = data_set(config_file, given, None)
    paths, rows = known.paths, []
    with alone(known.index):
        done = indexed(known, workers)
        with tqdm(total=len(paths), desc="pairs", disable=None) as bar:
            for key, found in pairs_among(paths, known.index, workers, Settings(), bar.update):
                if found.key in paths:  # others are videos that the data set no longer has
                    rows.append(pair_row(key[1], found.key[1], found.range))
    table = known.work_dir / "copies.parquet"
    tables.write(tables.COPIES, pd.DataFrame(rows, columns=tables.COPIES.schema.names), table)
    n_pairs = len({frozenset((row["video_id"], row["other_id"])) for row in rows})
    print(
        f"{done.n_videos} videos, {n_pairs} pairs that share some seconds, {len(done.failures)} unreadable\n  -> "
        f"{table}"
    )


def show_like(clip: Path, folder: Path, how: str, out: Path | None) -> None:
    from deepfake.catalog.answers import print_answer, refuse_other_endings, write_answer
    from deepfake.catalog.copies import find_like
    from deepfake.catalog.copy_index import read_index
    from deepfake.catalog.hashing import Settings, asked_of
    from deepfake.media.demux import VideoError
    from deepfake.models.runtime import cores
    from deepfake.outputs import refuse_inputs

    if out:
        refuse_other_endings(out)
        refuse_inputs(out, [clip])
    index = read_index(folder, Settings())
    try:
        asked = asked_of(clip, index.settings)
    except (VideoError, OSError) as error:
        raise UserError(f"{error}; nothing was searched for") from None
    own = own_key(clip, index)
    found = find_like(asked, index, own, cores())
    if out:
        print(f"{write_answer(batches(found), out)} rows -> {out}")
    elif how == "table":
        print("\n".join([*lines(found), summary(found, asked, index, own)]))
    else:
        print_answer(batches(found), how, sys.stdout)


def own_key(clip: Path, index: Index) -> tuple[str, str] | None:
    """The row of the clip itself, where it lies in an indexed folder: it is no copy of itself."""
    place = str(clip.resolve())
    return next((key for key in index.keys if f"{key[0]}/{key[1]}" == place), None)


def lines(found: Sequence[Found]) -> list[str]:
    """A table with a row for each pair of ranges."""
    from deepfake.files import printable

    if not found:
        return []
    rows = [("clip", "is", "of video", "bits", "remarks")]
    for one in found:
        near = one.range
        remarks = [f"{near.speed:.3g}x speed"] * (near.speed != 1) + ["mirrored"] * near.is_mirrored
        rows.append(
            (
                f"{near.clip_from_s:.1f}-{near.clip_to_s:.1f} s",
                f"{near.from_s:.1f}-{near.to_s:.1f} s",
                printable("/".join(one.key)),
                f"{near.bits:.0f}",
                ", ".join(remarks),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]]).rstrip() for row in rows
    ]


def summary(found: Sequence[Found], asked: Asked, index: Index, own: tuple[str, str] | None) -> str:
    """What was found in one sentence, and of what nothing can be said."""
    n_others = sum(reason is None for reason in index.reasons) - (own is not None)
    among = f"among {n_others} {'other ' * (own is not None)}videos"
    n_videos = len({one.key for one in found})
    said = f"found in {n_videos} {among}" if found else f"no copy found {among}"
    if not len(asked.times_P):
        said += "; the clip shows nothing to compare: all its pictures are flat"
    n_unread = sum(reason is not None for reason in index.reasons)
    return said + (f"; {n_unread} videos of the index could not be read" if n_unread else "")


def batches(found: Sequence[Found]) -> list[pa.RecordBatch]:
    """The same as rows of a table, with all their numbers."""
    import pyarrow as pa

    rows = [{"folder": one.key[0], "video_id": one.key[1], **vars(one.range)} for one in found]
    fields = [("folder", pa.string()), ("video_id", pa.string())]
    fields += [(name, pa.float64()) for name in ("from_s", "to_s", "clip_from_s", "clip_to_s", "speed")]
    fields += [("is_mirrored", pa.bool_()), ("n_frames", pa.int32()), ("n_points", pa.int32())]
    fields += [("bits", pa.float64()), ("moves_alike", pa.float64())]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields)).to_batches() or [
        pa.RecordBatch.from_pylist([], schema=pa.schema(fields))
    ]

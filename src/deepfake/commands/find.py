"""Find copies: which videos a clip was seen in before, uncut or as an excerpt, and which seconds these are.

    deepfake find index FOLDER                        # once, and again when there are more: it goes on where it was
    deepfake find like clip.mp4                       # what of the clip is in the index, second by second
    deepfake find like clip.mp4 --format json
    deepfake find pairs --config configs/demo.yaml    # a data set's: the table copies, for `deepfake query`

Found by their pictures: re-encoded, smaller, cropped by a tenth, with black bars, mirrored, with a caption, in other
colours, a little faster or slower. Not found: what is less than a second, or turned. Sound is not compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.commands.arguments import output_file, output_folder, whole_number
from deepfake.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    from deepfake.catalog.copies import Found
    from deepfake.catalog.copy_index import Index
    from deepfake.catalog.hashing import Asked

EXTRA = "evaluate"
INDEX = "copies.index"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True, metavar="{index,like,pairs}", prog="deepfake find")
    index = steps.add_parser("index", help="hash the videos below a folder, and add them to the index")
    index.add_argument("folder", type=Path, metavar="FOLDER", help="videos, searched with all below it")
    index.add_argument("--workers", type=whole_number, default=2, metavar="N", help="videos read at once (2)")
    like = steps.add_parser("like", help="what of a clip is in the index")
    like.add_argument("clip", type=Path, metavar="CLIP", help="a video")
    like.add_argument("--format", choices=("table", "csv", "json"), default="table", help="on the screen (table)")
    like.add_argument("--out", type=output_file, metavar="FILE", help="write all rows: .csv, .json or .parquet")
    index.add_argument("--index", type=output_folder, default=INDEX, help=f"folder of the index ({INDEX})")
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
        index_folder(args.folder, args.index, args.workers)
    elif args.step == "pairs":
        write_pairs(args.config, args.set, args.workers)
    else:
        show_like(args.clip, args.index, args.format, args.out)


def index_folder(folder: Path, index: Path, workers: int) -> None:
    from tqdm import tqdm

    from deepfake.catalog.copies import index_videos
    from deepfake.catalog.hashing import Settings
    from deepfake.files import printable
    from deepfake.media.listing import list_folder, video_id_of
    from deepfake.stages import alone

    listing = list_folder(folder)
    paths = {(str(folder.resolve()), video_id_of(path, folder)): path for path in listing.videos}
    with alone(index), tqdm(total=len(paths), desc="videos", disable=None) as bar:
        done = index_videos(paths, index, workers, Settings(), bar.update)
    print(f"{done.n_videos} videos: {done.n_new} hashed, {done.n_known} known before, {len(done.failures)} unreadable")
    for video_id, reason in sorted(done.failures.items()):
        print(f"  {printable(video_id)}: {printable(reason)}")
    print("\n".join([f"  -> {index}", *listing.summary_lines()]))


def write_pairs(config_file: Path, given: Sequence[str], workers: int) -> None:
    import pandas as pd
    from tqdm import tqdm

    from deepfake import tables
    from deepfake.catalog.copies import index_videos, pairs_among
    from deepfake.catalog.hashing import Settings
    from deepfake.media.listing import path_of
    from deepfake.settings_file import load_config
    from deepfake.stages import alone

    config = load_config(config_file, given, None)
    videos = tables.read(tables.VIDEOS, config.work_dir / "videos.parquet")
    names = videos[videos["status"] == "ok"]["video_id"]
    root = config.path(config.index.root)
    paths = {(config.dataset, name): path_of(root, name) for name in names}
    index, rows = config.work_dir / INDEX, []
    with alone(index):
        with tqdm(total=len(paths), desc="index", disable=None) as bar:
            done = index_videos(paths, index, workers, Settings(), bar.update)
        with tqdm(total=len(paths), desc="pairs", disable=None) as bar:
            for key, found in pairs_among(paths, index, workers, Settings(), bar.update):
                if found.key in paths:  # others are videos that the data set no longer has
                    rows.append(pair_row(key[1], found))
    table = config.work_dir / "copies.parquet"
    tables.write(tables.COPIES, pd.DataFrame(rows, columns=tables.COPIES.schema.names), table)
    n_pairs = len({frozenset((row["video_id"], row["other_id"])) for row in rows})
    print(
        f"{done.n_videos} videos, {n_pairs} pairs that share some seconds, {len(done.failures)} unreadable\n  -> "
        f"{table}"
    )


def pair_row(video_id: str, found: Found) -> dict[str, object]:
    """A row of the table copies."""
    near = found.range
    same = {name: getattr(near, name) for name in ("speed", "is_mirrored", "n_frames", "bits")}
    return {
        "video_id": video_id,
        "other_id": found.key[1],
        "from_s": near.clip_from_s,
        "to_s": near.clip_to_s,
        "other_from_s": near.from_s,
        "other_to_s": near.to_s,
        **same,
    }


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

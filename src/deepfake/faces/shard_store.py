"""Shards that lie in a store: its URL is noted beside the crops, and whoever reads one fetches the shard."""

from __future__ import annotations

from pathlib import Path

from deepfake.engines.storage import Folder
from deepfake.errors import UserError
from deepfake.files import write_whole

STORE_NOTE = Path("crops/.store")


def note_store(work_dir: Path, url: str | None) -> None:
    """Note where shards are that are not below `work_dir`."""
    note = work_dir / STORE_NOTE
    if url is None:
        note.unlink(missing_ok=True)
    else:
        write_whole(note, url.encode())


def fetch_shard(work_dir: Path, shard: str) -> bool:
    """Fetch a shard into `work_dir` out of the store that is noted there; False where none is noted."""
    try:
        url = (work_dir / STORE_NOTE).read_text()
    except FileNotFoundError:
        return False
    try:
        write_whole(work_dir / shard, Folder(url).read(shard))
    except FileNotFoundError:
        raise UserError(f"shard {shard!r} is not in {url}; run 02_extract_faces again") from None
    return True

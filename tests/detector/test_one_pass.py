"""One check reads its file once: hashed, demuxed, decoded, its shard and its address, counted."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import pytest

from deepfake import files
from deepfake.commands import checks
from deepfake.commands.checks import Places, check
from deepfake.detector import file, read_ahead
from deepfake.detector.header import DetectorHeader
from deepfake.detector.score_videos import predict_folder
from deepfake.faces import crop_store, extraction, extractor
from deepfake.media import demux
from deepfake.media.source import Source
from deepfake.models.members import Member
from deepfake.settings import Ensemble, Extract, Predict
from invented_scorer import always, scorer_with
from learning_data import one_thread  # noqa: F401 - a fixture
from moving_squares import SquareDetector, moving

pytestmark = pytest.mark.usefixtures("one_thread")
EXTRACT = Extract(frames_per_video=8, sampling="uniform", crop_px=32)


def run_here(
    function: Callable[[object], object], jobs: Iterable[object], *_: object, **__: object
) -> Iterator[tuple[object, object]]:
    """What `run_each` does, without its processes, so that counting sees all of it."""
    for job in jobs:
        yield job, function(job)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the functions that cost something were called, whoever imported them, by name and file."""
    counted: Counter[str] = Counter()
    for function in (files.sha256_of, demux._demux, crop_store.read_rows, extractor.shard_name):

        def counting(*args: object, function: Callable[..., object] = function) -> object:
            of = f" {args[0].name}" if isinstance(args[0], Path) and function.__name__ == "sha256_of" else ""
            counted[function.__name__ + of] += 1
            return function(*args)

        for module in [module for name, module in sys.modules.items() if name.startswith("deepfake")]:
            if getattr(module, function.__name__, None) is function:
                monkeypatch.setattr(module, function.__name__, counting)
    begin = Source.__init__

    def beginning(source: Source, path: Path, *args: int) -> None:
        counted["read"] += 1
        begin(source, path, *args)

    monkeypatch.setattr(Source, "__init__", beginning)
    opened = av.open

    def opening(path: str, *args: object, **options: object) -> object:
        counted["av.open"] += 1
        return opened(path, *args, **options)

    monkeypatch.setattr(av, "open", opening)
    return counted


@pytest.fixture
def checked(
    square_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], dict[str, object]]:
    """Check a clip of one face with an invented detector, all in this process; its JSON."""
    made = scorer_with(Ensemble(min_track_frames=3), [Member("a", always(2.0), {})], a=1.0).detector
    for module in (read_ahead, extraction):
        monkeypatch.setattr(module, "run_each", run_here)
    monkeypatch.setattr(read_ahead, "read_header", lambda _: {"extract": EXTRACT.model_dump()})
    monkeypatch.setattr(file, "open_detector", lambda *_: replace(made, extract=EXTRACT))
    monkeypatch.setattr(
        checks, "read_detector", lambda path: DetectorHeader(path, "d", made.stack, EXTRACT, made.ensemble, {})
    )
    monkeypatch.setattr(checks, "Predict", lambda: Predict(device="cpu", precision="fp32"))
    monkeypatch.setattr(extractor, "_detector", lambda *_: SquareDetector())
    path = square_clip(moving, name="v.mp4")
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"weights")

    def run() -> dict[str, object]:
        places = Places(str(tmp_path / "v.json"), tmp_path / "v.html", tmp_path, 1)
        assert check([path], places, weights, tmp_path / "cache", show=False) in (0, 3, 4)
        values: dict[str, object] = json.loads((tmp_path / "v.json").read_text())
        return values

    return run


def test_a_file_is_hashed_demuxed_and_addressed_once_and_its_shard_is_not_read_back(
    checked: Callable[[], dict[str, object]], counts: Counter[str]
) -> None:
    values = checked()
    assert values["shots"], "a face was judged"
    assert counts == {
        "read": 1,  # hashed on the way
        "sha256_of weights.bin": 1,
        "_demux": 1,
        "av.open": 2,  # to demux, and to decode
        "shard_name": 1,
    }


def test_a_file_that_was_checked_before_is_not_opened_and_its_shard_is_read_once(
    checked: Callable[[], dict[str, object]], counts: Counter[str]
) -> None:
    first = checked()
    counts.clear()
    assert checked() == first
    assert counts == {"sha256_of weights.bin": 1, "shard_name": 1, "read_rows": 1}


def test_a_known_video_s_page_and_verdict_need_no_network(
    checked: Callable[[], dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, page = checked(), (tmp_path / "v.html").read_bytes()
    monkeypatch.setattr(DetectorHeader, "load", None)
    assert checked() == first
    assert (tmp_path / "v.html").read_bytes() == page and page.count(b"data:image/jpeg") >= 4


@pytest.mark.parametrize("folder", ["scores", "pictures"])
@pytest.mark.parametrize("damage", ["cut", "changed", "emptied"])
def test_what_is_damaged_of_what_was_kept_is_made_again(
    checked: Callable[[], dict[str, object]], tmp_path: Path, folder: str, damage: str
) -> None:
    first, page = checked(), (tmp_path / "v.html").read_bytes()
    (kept,) = (tmp_path / "cache" / folder).rglob("*.json")
    whole = kept.read_bytes()
    place = max(whole.rindex(digit) for digit in (b"1", b"2", b"3"))
    changed = whole[:place] + (b"4" if folder == "scores" else b"0") + whole[place + 1 :]
    kept.write_bytes({"cut": whole[:-9], "changed": changed, "emptied": b""}[damage])
    assert checked() == first
    assert (tmp_path / "v.html").read_bytes() == page and kept.read_bytes() == whole


def test_what_is_not_read_ahead_is_read_once_too(
    checked: Callable[[], dict[str, object]], counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_ahead, "run_each", lambda *_, **__: iter(()))
    checked()
    assert (counts["read"], counts["_demux"], counts["shard_name"], counts["read_rows"]) == (1, 1, 1, 0)


def two_in_disguise(square_clip: Callable[..., Path]) -> list[Path]:
    """Two clips that differ, of one size and time of change."""
    clips = [square_clip(moving, n_frames=n, name=f"{n}.avi") for n in (6, 8)]
    n_bytes = max(path.stat().st_size for path in clips)
    for path in clips:
        path.write_bytes(path.read_bytes().ljust(n_bytes, b"\0"))
        os.utime(path, ns=(10**18, 10**18))
    return clips


def test_a_check_of_a_file_that_took_another_s_place_is_its_own(
    checked: Callable[[], dict[str, object]], square_clip: Callable[..., Path], tmp_path: Path
) -> None:
    for source in two_in_disguise(square_clip):
        shutil.copy2(source, tmp_path / "v.mp4")
        made: dict[str, dict[str, object]] = checked()  # type: ignore[assignment]
        assert (made["file"]["sha256"], made["video"]["n_frames"]) == (files.sha256_of(source), int(source.stem))


def test_a_folder_run_scores_a_file_that_took_another_s_place(
    checked: Callable[[], dict[str, object]], square_clip: Callable[..., Path], tmp_path: Path
) -> None:
    detector, folder = file.open_detector(tmp_path, Predict()), tmp_path / "folder"
    folder.mkdir()
    for source in two_in_disguise(square_clip):
        shutil.copy2(source, folder / "v.avi")
        (row,) = predict_folder(folder, tmp_path / "out.csv", detector, "ab" * 32, tmp_path / "cache", 1)
        assert row.n_faces == int(source.stem)

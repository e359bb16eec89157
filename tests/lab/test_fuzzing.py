"""Damaged clips: the ten kinds of damage, what counts as a breach, and two hundred clips through the command."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest

from deepfake.faces.reading import ReadJob, read
from deepfake.media.clips import write_clip
from deepfake.settings import Extract
from lab import fuzzing
from lab.damaged_bytes import DAMAGES, boxes_of
from lab.drawn_people import moving_person
from lab.fuzzing import (
    CODINGS,
    CONTAINERS,
    Case,
    Coding,
    Limits,
    Row,
    Watched,
    cases,
    csv_text,
    fuzz,
    quarter_speeds,
    report,
    watch,
)
from run_command import ENVIRONMENT

MP4 = (
    b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00"
    + b"\x00\x00\x00\x1cmoov\x00\x00\x00\x14trak\x00\x00\x00\x0ctkhd\x01\x02\x03\x04"
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[Coding, bytes]:
    return fuzzing.whole_clips(tmp_path_factory.mktemp("clips"))


def test_the_boxes_of_a_file_are_found_with_those_inside_them() -> None:
    found = [(box.name, box.start, box.body, box.end) for box in boxes_of(MP4, "mp4")]
    assert found == [(b"ftyp", 0, 8, 16), (b"moov", 16, 24, 44), (b"trak", 24, 32, 44), (b"tkhd", 32, 40, 44)]


@pytest.mark.parametrize("coding", CODINGS, ids=lambda coding: f"{coding.codec}.{coding.container}")
def test_every_container_is_understood_to_its_end(coding: Coding, whole: dict[Coding, bytes]) -> None:
    data = whole[coding]
    boxes = boxes_of(data, coding.container)
    assert any(box.is_media for box in boxes) and any(not box.is_media for box in boxes)
    assert max(box.end for box in boxes) == len(data)
    assert all(0 <= box.start < box.body <= box.end for box in boxes)
    coded = sum(box.end - box.body for box in boxes if box.is_media)
    assert 0.2 * len(data) < coded < len(data), "headers are told from frames"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("coding", CODINGS, ids=lambda coding: f"{coding.codec}.{coding.container}")
def test_every_damage_changes_every_container_and_the_seed_decides_how(
    damage: str, coding: Coding, whole: dict[Coding, bytes]
) -> None:
    data = whole[coding]
    boxes = boxes_of(data, coding.container)
    made = {DAMAGES[damage](data, boxes, np.random.default_rng(seed)) for seed in range(8)}
    again = {DAMAGES[damage](data, boxes, np.random.default_rng(seed)) for seed in range(8)}
    assert made == again and len(made - {data}) >= 5


def test_header_bits_leave_the_frames_alone_and_data_bits_the_headers(whole: dict[Coding, bytes]) -> None:
    for coding, data in whole.items():
        boxes = boxes_of(data, coding.container)
        media = np.zeros(len(data), bool)
        for box in boxes:
            if box.is_media:
                media[box.body : box.end] = True
        for damage, hits_media in (("header bits", False), ("data bits", True)):
            damaged = DAMAGES[damage](data, boxes, np.random.default_rng(3))
            differ = np.frombuffer(damaged, np.uint8) != np.frombuffer(data, np.uint8)
            assert differ.any() and (media[differ] == hits_media).all(), (coding, damage)


def test_any_number_of_cases_is_spread_over_all_damages_and_containers() -> None:
    chosen = list(cases(240))
    assert len({case.name for case in chosen}) == 240
    counts = Counter((case.damage, case.coding.container) for case in chosen)
    assert len(counts) == len(DAMAGES) * len(CONTAINERS) and set(counts.values()) == {4}
    assert len(DAMAGES) == 10 and set(CONTAINERS) == {"mp4", "mov", "mkv", "webm", "avi", "ts"}


def row(outcome: str, reason: str = "") -> Row:
    return Row(Case(0, "cut", CODINGS[0]), outcome, reason)


@pytest.mark.parametrize(
    ("fallback", "outcome"),
    [
        ("", "scored"),
        ("no_face", "no face"),
        ("unreadable: video 'v': found no streams", "refused"),
        ("unreadable: took longer than 9 s and was stopped; a larger deadline_s gives it more", "stopped"),
        ("unreadable: its process died (exit code -11): the decoder or a library crashed", "crashed"),
        ("unreadable: unexpected ZeroDivisionError: division by zero", "unexpected"),
    ],
)
def test_a_row_of_the_csv_says_what_became_of_a_clip(fallback: str, outcome: str) -> None:
    assert fuzzing._outcome({"fallback": fallback, "label": "0.5"})[0] == outcome
    assert fuzzing._outcome(None)[0] == "no row"


def test_what_must_not_happen_is_a_breach_and_what_may_is_none(tmp_path: Path) -> None:
    fine = [row("scored"), row("no face"), row("refused", "found no streams"), row("stopped", "took longer")]
    assert fuzzing._breaches(fine, Watched(exit_code=0)) == []
    for bad in ("crashed", "unexpected", "no row"):
        assert len(fuzzing._breaches([*fine, row(bad)], Watched(exit_code=0))) == 1
    assert "exit code -9" in fuzzing._breaches([], Watched(exit_code=-9))[0]
    assert "[h264 @ 0x1]" in fuzzing._breaches([], Watched(exit_code=0, stderr="[h264 @ 0x1] error"))[0]
    assert fuzzing._breaches([], Watched(exit_code=0, left=["file x"])) == ["left behind: file x"]


def test_a_file_that_a_check_cannot_describe_is_a_breach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v.mp4"
    write_clip(path, moving_person(0, 4, 64), 4)
    assert read(ReadJob("v", path, tmp_path / "cache", Extract(frames_per_video=2))).file.probe is not None
    assert fuzzing._undescribed(path, tmp_path / "cache") == []
    monkeypatch.setattr(fuzzing, "describe", lambda file: 1 / 0)
    assert "ZeroDivisionError" in fuzzing._undescribed(path, tmp_path / "cache")[0]


def test_a_command_s_left_processes_files_and_words_are_seen(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, tempfile, time;"
        "tempfile.mkstemp(); open('crumb', 'w'); print('a decoder said', file=sys.stderr);"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "[0 for _ in iter(lambda: time.process_time() < 0.5, False)]"
    )
    watched = watch([sys.executable, "-c", program], tmp_path, 60)
    assert watched.exit_code == 0 and watched.stderr == "a decoder said\n"
    processes = [int(what.split()[1]) for what in watched.left if what.startswith("process")]
    assert len(processes) == 1 and len(watched.left) == 3 and "file here/crumb" in watched.left
    psutil.Process(processes[0]).kill()
    assert watched.peak_mb > 1 and watched.worker_peak_mb > 1
    assert 0.2 < sum(watched.processor_s.values()) < 3, "half a second of work, seen ten times a second"


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    watched = watch([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, 0.5)
    assert watched.exit_code == -9 and watched.seconds < 10


def test_a_drawn_person_is_found_in_every_frame() -> None:
    from deepfake.faces.mtcnn import FaceDetector

    detector = FaceDetector(0.0625, 0.9)
    for number in range(4):
        frames = list(moving_person(number, 3, fuzzing.SIDE_PX))
        assert [len(detector.detect([frame], 20)[0]) for frame in frames] == [1, 1, 1]


LOUD = "import av; av.logging.set_level(av.logging.WARNING); av.logging.restore_default_callback()\n"
DECODED = """
import sys
from pathlib import Path
from deepfake.media.video import VideoError, sample
try:
    print(sum(1 for _ in sample(Path(sys.argv[1]), "uniform")))
except VideoError as error:
    print(error)
"""


def test_decoders_words_about_a_damaged_clip_do_not_reach_the_screen(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    write_clip(path, moving_person(0, 12, 96), 12, options={"g": "4"})
    data = path.read_bytes()
    path.write_bytes(DAMAGES["data bits"](data, boxes_of(data, "mp4"), np.random.default_rng(0)))
    spoken = LOUD + "for _ in av.open(sys.argv[1]).demux(video=0):\n    try: _.decode()\n    except Exception: pass"
    for program, is_silent in (("import sys\n" + spoken, False), (DECODED, True)):
        command = [sys.executable, "-c", program, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == 0 and (done.stderr == "") is is_silent, done.stderr


def test_speeds_are_told_by_quarters_of_the_clips() -> None:
    steady = [(float(second), 2 * second) for second in range(21)]
    assert quarter_speeds(steady) == pytest.approx([2, 2, 2, 2])
    slower = [(0.0, 1), *((float(i * i), 1 + 4 * i) for i in range(1, 9))]
    assert np.diff(quarter_speeds(slower)).max() < 0 and quarter_speeds(steady[:5]) == []


def test_clips_that_are_left_whole_are_different_files(whole: dict[Coding, bytes]) -> None:
    chosen = list(cases(24, [fuzzing.WHOLE]))
    made = {fuzzing.damaged_bytes(case, whole[case.coding], seed=0) for case in chosen}
    assert len(made) == 24 and all(any(data.startswith(clip) for clip in whole.values()) for data in made)


@pytest.mark.slow
def test_two_hundred_damaged_clips_breach_nothing(tmp_path: Path) -> None:
    fuzzed = fuzz(seed=24, n=200, folder=tmp_path, limits=Limits(workers=2, deadline_s=20))
    print(report(fuzzed))  # with the seed
    assert not fuzzed.breaches, report(fuzzed)
    assert len(csv_text(fuzzed).splitlines()) == 201
    kinds = Counter(one.outcome for one in fuzzed.rows)
    assert kinds["scored"] > 50 and kinds["refused"] > 20, "both what can be seen and what cannot is there"

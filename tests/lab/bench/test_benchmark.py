"""The benchmark's own arithmetic and inputs; what it measures is no matter of tests."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from deepfake.errors import UserError
from deepfake.media.clips import decode_plainly, loop_clip, write_clip
from deepfake.media.video import probe, sample
from lab.bench import run
from lab.bench.clips import demo_clips
from lab.bench.extraction import STEPS, StepClock
from lab.bench.run import Row, as_json, choose_parts, table

SLEEP_S = 0.02


def squares(n_frames: int) -> list[np.ndarray]:
    frames = []
    for number in range(n_frames):
        frame = np.full((48, 64, 3), 40, np.uint8)
        frame[8:24, 2 * number : 2 * number + 16] = 220
        frames.append(frame)
    return frames


def test_a_row_is_a_json_object_with_the_five_promised_fields() -> None:
    rows = json.loads(as_json([Row("decode", 1.5, "PyAV", 0.75, 812.5), Row("other", None, "not measured")]))
    assert rows[0] == {"name": "decode", "seconds": 1.5, "of": "PyAV", "ratio": 0.75, "peak_mb": 812.5}
    assert rows[1] == {"name": "other", "seconds": None, "of": "not measured", "ratio": None, "peak_mb": None}


def test_the_table_shows_every_row_and_leaves_out_what_was_not_measured() -> None:
    lines = table([Row("decode", 1.5, "PyAV", 0.75, 812.5), Row("other", None, "not measured: no demo")]).splitlines()
    assert lines[1].split() == ["decode", "1.500", "0.750", "PyAV", "812"]
    assert lines[2].split() == ["other", "not", "measured:", "no", "demo"]


def test_parts_come_in_their_order_whatever_the_order_of_asking() -> None:
    assert choose_parts(["stages", "ways"]) == ["ways", "stages"]
    assert choose_parts([]) == list(run.PARTS)


def test_an_unknown_part_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"--only way: .*choose from ways, start"):
        choose_parts(["way"])


def test_without_demo_data_the_error_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `make demo` first"):
        demo_clips(tmp_path / "none")


def test_demo_clips_are_those_to_learn_from(tmp_path: Path) -> None:
    for name in ("part_1/b.mp4", "part_0/c.mp4", "test_videos/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert demo_clips(tmp_path) == [tmp_path / "part_0/c.mp4", tmp_path / "part_1/b.mp4"]


def test_a_looped_clip_plays_the_same_frames_again_at_later_times(tmp_path: Path) -> None:
    write_clip(tmp_path / "one.mp4", squares(10), 10, options={"bf": "0", "g": "5"})
    loop_clip(tmp_path / "one.mp4", tmp_path / "three.mp4", 3)
    probed = probe(tmp_path / "three.mp4")
    assert (probed.n_frames, probed.duration_s, probed.is_vfr) == (30, pytest.approx(3.0), False)
    once = [frame.rgb() for frame in sample(tmp_path / "one.mp4", "uniform", 10)]
    thrice = list(sample(tmp_path / "three.mp4", "uniform", 30))
    assert all((frame.rgb() == once[i % 10]).all() for i, frame in enumerate(thrice))
    assert thrice[29].time_s == pytest.approx(2.9)


@pytest.mark.parametrize("threads", [0, 1])
def test_plain_decoding_counts_every_frame(tmp_path: Path, threads: int) -> None:
    write_clip(tmp_path / "clip.mp4", squares(13), 10)
    assert decode_plainly(tmp_path / "clip.mp4", threads) == 13


class Worker:
    def outer(self) -> str:
        time.sleep(SLEEP_S)
        return self.inner()

    def inner(self) -> str:
        time.sleep(2 * SLEEP_S)
        return "done"

    def numbers(self):  # type: ignore[no-untyped-def]
        for number in range(3):
            time.sleep(SLEEP_S)
            yield number


def test_time_of_a_call_within_a_call_counts_once() -> None:
    clock, worker = StepClock(), Worker()
    with clock.watching([(Worker, "outer", "outer"), (Worker, "inner", "inner")]):
        start = time.perf_counter()
        assert worker.outer() == "done"
        spent = time.perf_counter() - start
    assert clock.seconds["outer"] + clock.seconds["inner"] == pytest.approx(spent, abs=0.01)
    assert SLEEP_S <= clock.seconds["outer"] < spent - 2 * SLEEP_S + 0.01


def test_a_generator_is_timed_while_it_works_and_not_while_its_items_are_used() -> None:
    clock = StepClock()
    with clock.watching([(Worker, "numbers", "numbers")]):
        numbers = []
        for number in Worker().numbers():
            time.sleep(3 * SLEEP_S)
            numbers.append(number)
    assert numbers == [0, 1, 2]
    assert 3 * SLEEP_S <= clock.seconds["numbers"] < 7 * SLEEP_S


def test_watched_functions_are_put_back_even_after_an_error() -> None:
    before = Worker.outer
    with pytest.raises(RuntimeError), StepClock().watching([(Worker, "outer", "outer")]):
        assert Worker.outer is not before
        raise RuntimeError
    assert Worker.outer is before


def test_every_step_that_is_watched_exists() -> None:
    assert all(callable(getattr(owner, name)) for owner, name, _ in STEPS)

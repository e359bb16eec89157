"""Crowds of one-face clips: simulated ones, and composed videos."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from deepfake.errors import UserError
from deepfake.faces.crop_store import write_shard
from deepfake.media.video import sample
from lab.crowds import FPS, GAP_PX, TILE_PX, Grid, compose, draw_grids, simulated, tally

BAND = (0.3, 0.7)


def singles(real: list[float], fake: list[float]) -> pd.DataFrame:
    labels, logits = [0] * len(real) + [1] * len(fake), [*real, *fake]
    return pd.DataFrame(
        {"video_id": [f"v{i}" for i in range(len(labels))], "label": labels, "logit": logits, "half": 0}
    )


def test_a_crowd_of_one_is_the_clip_itself_by_every_rule() -> None:
    table = simulated(singles([-2.0, 2.0], [3.0]), BAND, 0.5, [1], 2000)
    assert table["real, forged"].to_numpy() == pytest.approx(0.5, abs=0.05), "one of two reals lies above"
    assert (table["one fake, forged"] == 1).all() and len(table) == 4


def test_the_worst_face_calls_crowds_forged_that_the_mean_of_the_odds_does_not() -> None:
    reals = [-1.0] * 9 + [1.2]
    table = simulated(singles(reals, [5.0]), BAND, 0.5, [1, 6], 3000).set_index(["rule", "faces"])
    assert table.loc[("worst face", 6), "real, forged"] == pytest.approx(0.6, abs=0.04), "six of ten are drawn"
    assert table.loc[("shipped", 6), "real, forged"] == 0, "ln((e^1.2 + 5 / e) / 6) is -.15"
    assert table.loc[("shipped", 6), "one fake, forged"] == 1, "ln(e^5 / 6) is 3.2"
    assert table.loc[("shipped", 6), "auc"] == 1


def test_too_few_clips_for_the_largest_crowd_are_a_mistake() -> None:
    with pytest.raises(UserError, match="2 reals and 1 fakes of one face; wanted 6 and 1"):
        simulated(singles([0.0, 1.0], [1.0]), BAND, 0.5, [1, 6], 10)


def clips_of(folder: Path, colours: dict[str, int]) -> Any:
    rows = []
    for name, grey in colours.items():
        data = [cv2.imencode(".png", np.full((40, 40, 3), grey, np.uint8))[1].tobytes() for _ in range(2)]
        places = write_shard(
            folder / f"{name}.tar", [(f"{i}.png", part) for i, part in enumerate(data)], {"faces": [{}, {}]}
        )
        rows += [{"video_id": name, "shard": f"{name}.tar", "offset": at, "size": size} for at, size in places]

    class Some:
        faces, cache_dir = pd.DataFrame(rows), folder

    return Some()


def test_a_grid_shows_every_face_for_all_its_frames(tmp_path: Path) -> None:
    colours = {"a": 40, "b": 90, "c": 140, "d": 190, "e": 240}
    grid = Grid(tmp_path / "5-00-real.mp4", tuple(colours), is_fake=False)
    compose([grid], clips_of(tmp_path, colours), n_frames=6)
    with sample(grid.path, "uniform", 100) as video:
        frames = [frame.rgb() for frame in video]
        assert video.probe.fps == FPS
    assert len(frames) == 6
    step = TILE_PX + GAP_PX
    for frame in frames:
        assert frame.shape == (2 * step + GAP_PX, 3 * step + GAP_PX, 3)
        middles = [frame[y * step + 100, x * step + 100].mean() for y in range(2) for x in range(3)]
        assert sorted(round(m, -1) for m in middles[:5]) == pytest.approx(sorted(colours.values()), abs=6)


def test_grids_come_in_pairs_that_differ_by_one_face() -> None:
    grids = draw_grids(singles([0.0] * 9, [1.0] * 3), {1: 2, 4: 3}, Path("x"))
    assert len(grids) == 10 and len({grid.path.name for grid in grids}) == 10
    for real, fake in zip(grids[::2], grids[1::2], strict=True):
        assert (real.is_fake, fake.is_fake) == (False, True)
        assert real.clips[1:] == fake.clips[1:] and real.clips[0] in {f"v{i}" for i in range(9)}
        assert fake.clips[0] in {"v9", "v10", "v11"}
    assert draw_grids(singles([0.0] * 9, [1.0] * 3), {1: 2, 4: 3}, Path("x")) == grids


def test_grids_are_counted_by_size() -> None:
    grids = [Grid(Path(f"{name}.mp4"), ("a", "b"), name == "f") for name in "rf"]
    text = tally(grids, {"r.mp4": (0.2, 0.8, 2), "f.mp4": (0.9, 0.95, 2)}, BAND)
    assert text.splitlines()[-1] == "| 2 | 2 | 2.0 | 0 / 1 of 1 | 1 / 0 of 1 | 1 / 0 of 1 | 1 / 0 of 1 | 1.00 | 1.00 |"

import cv2
import numpy as np

from deepfake.forged_clips import ForgedClip
from deepfake.forged_tracks import Pair
from deepfake.mixture import Made
from deepfake.report import contact_sheet
from deepfake.report.contact_sheet import CELL_PX, GAP_PX, LABEL_PX, PAPER, clip_sheet, png, sheet

GREY = np.full((100, 100, 3), 100, np.uint8)


def made(mask: np.ndarray | None) -> Made:
    seen = (np.full((64, 64, 3), 50, np.uint8), np.full((64, 64, 3), 60, np.uint8))
    return Made(
        kind="photo",
        names=("photo 'a'", "its twin/x"),
        owners=("a", "a"),
        stored=(GREY, GREY + 20),
        seen=seen,
        mask=mask,
        grid=np.zeros((14, 14)),
    )


def middle(drawn: np.ndarray, row: int, column: int) -> list[int]:
    """The colour in the middle of a cell."""
    y = LABEL_PX + row * (LABEL_PX + CELL_PX + GAP_PX) + LABEL_PX + CELL_PX // 2
    return list(drawn[y, GAP_PX + column * (CELL_PX + GAP_PX) + CELL_PX // 2].tolist())


def test_a_row_shows_real_fake_mask_difference_and_both_as_seen() -> None:
    drawn = sheet([made(np.full((100, 100), 0.5, np.float32))])
    assert [middle(drawn, 0, column)[0] for column in range(6)] == [100, 120, 128, 80, 50, 60]


def test_a_fake_without_a_known_mask_has_neither_mask_nor_difference() -> None:
    drawn = sheet([made(np.ones((100, 100), np.float32)), made(None)])
    assert [middle(drawn, 1, column)[0] for column in range(6)] == [100, 120, PAPER, PAPER, 50, 60]


def test_the_sheet_has_a_line_of_headings_and_a_label_over_each_row() -> None:
    drawn = sheet([made(None)] * 3)
    assert drawn.shape == (LABEL_PX + 3 * (LABEL_PX + CELL_PX + GAP_PX), 6 * (CELL_PX + GAP_PX) + GAP_PX, 3)
    for top in (0, LABEL_PX, LABEL_PX + (LABEL_PX + CELL_PX + GAP_PX)):
        assert (drawn[top : top + LABEL_PX] < 100).any(), "ink"


def test_a_picture_that_is_not_square_keeps_its_proportion() -> None:
    cell = contact_sheet._fitted(np.zeros((50, 100, 3), np.uint8))
    assert cell.shape == (CELL_PX, CELL_PX, 3)
    assert not cell[: CELL_PX // 2 - 1].any()
    assert (cell[CELL_PX // 2 + 1 :] == PAPER).all()


def test_the_png_reads_back_with_its_colours() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    back = cv2.imdecode(np.frombuffer(png(picture), np.uint8), cv2.IMREAD_COLOR)
    assert (back[..., ::-1] == picture).all()


def test_a_forged_clip_s_row_shows_six_frames_above_what_was_changed() -> None:
    real = [np.full((64, 64, 3), 10 * i, np.uint8) for i in range(11)]
    fake = ForgedClip([frame + (3 if i > 4 else 0) for i, frame in enumerate(real)], np.arange(11) > 4, "twin/x+span")
    drawn = clip_sheet([("'a' track 0", Pair(real, fake, real, fake.frames))] * 2)
    assert drawn.shape == (2 * (LABEL_PX + 2 * (CELL_PX + GAP_PX)), 6 * (CELL_PX + GAP_PX) + GAP_PX, 3)
    assert [middle(drawn, 0, column)[0] for column in range(6)] == [0, 20, 40, 63, 83, 103]
    below = drawn[LABEL_PX + CELL_PX + GAP_PX :]
    assert [int(below[CELL_PX // 2, GAP_PX + i * (CELL_PX + GAP_PX) + 50, 0]) for i in range(6)] == [
        0,
        0,
        0,
        12,
        12,
        12,
    ]


def test_a_clip_of_one_frame_has_a_row_too() -> None:
    fake = ForgedClip([GREY], np.array([True]), "twin/x")
    drawn = clip_sheet([("'a' track 0", Pair([GREY], fake, [GREY], [GREY]))])
    assert [middle(drawn, 0, column)[0] for column in range(2)] == [100, PAPER]

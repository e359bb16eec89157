"""MTCNN's three steps: worked by hand with invented networks, and what is suppressed by what."""

from collections.abc import Iterator

import numpy as np
import pytest

from deepfake.faces import mtcnn_cascade
from deepfake.faces.area_resize import Floats
from deepfake.faces.mtcnn_cascade import find_faces, iou, scales, share_of_smaller, suppressed, surest

Shapes = list[tuple[int, ...]]


class Invented:
    """Networks that believe in one window of the largest picture, and in whatever becomes of it."""

    def __init__(self, refined: float = 0.9, decided: float = 0.95, shift: float = 0.0) -> None:
        self.refined, self.decided, self.shift = refined, decided, shift
        self.seen: Shapes = []

    def propose(self, picture_1CHW: Floats) -> tuple[Floats, Floats]:
        self.seen.append(picture_1CHW.shape)
        scores = np.zeros((9, 9), np.float32)
        if len(self.seen) == 1:
            scores[3, 2] = 0.8
        return scores, np.full((4, 9, 9), self.shift, np.float32)

    def refine(self, crops: Iterator[Floats]) -> tuple[Floats, Floats]:
        self.seen += [batch.shape for batch in crops]
        return np.array([self.refined], np.float32), np.zeros((1, 4), np.float32)

    def decide(self, crops: Iterator[Floats]) -> tuple[Floats, Floats, Floats]:
        self.seen += [batch.shape for batch in crops]
        half = np.full((1, 10), 0.5, np.float32)
        return np.array([self.decided], np.float32), np.zeros((1, 4), np.float32), half


PICTURE = np.zeros((40, 40, 3), np.uint8)
THRESHOLDS = (0.6, 0.7, 0.9)
PYRAMID = [(1, 3, 25, 25), (1, 3, 18, 18), (1, 3, 13, 13)]  # 0.6, 0.425 and 0.302 of 40 px, and one


def test_the_pyramid_ends_where_the_window_no_longer_fits() -> None:
    assert scales(40, 60, 20) == pytest.approx([0.6, 0.6 * 0.709, 0.6 * 0.709**2])
    assert scales(19, 60, 20) == []


def test_a_window_becomes_a_face_as_worked_by_hand() -> None:
    # Its corners (2 * 2 + 1, 2 * 3 + 1) and (2 * 2 + 12, 2 * 3 + 12) over 0.6, rounded down: 8, 11, 26 and 29, for
    # 0.6 is a little more as a float of 32 bits. The landmarks lie in the middle of 19 px, counted from 1.
    networks = Invented()
    faces = find_faces(PICTURE, networks, 20, THRESHOLDS)
    assert faces.boxes.tolist() == [[8, 11, 26, 29]] and faces.scores.tolist() == pytest.approx([0.95])
    assert faces.landmarks.tolist() == [[[16.5, 19.5]] * 5]
    assert networks.seen == [*PYRAMID, (1, 3, 24, 24), (1, 3, 48, 48)]


def test_what_one_network_denies_the_next_is_not_asked_about() -> None:
    networks = Invented(refined=0.7)
    assert len(find_faces(PICTURE, networks, 20, THRESHOLDS)) == 0
    assert networks.seen == [*PYRAMID, (1, 3, 24, 24)]
    assert len(find_faces(PICTURE, Invented(decided=0.9), 20, THRESHOLDS)) == 0


def test_a_window_moved_out_of_the_picture_is_dropped() -> None:
    networks = Invented(shift=3.0)
    faces = find_faces(PICTURE, networks, 20, THRESHOLDS)
    assert faces.boxes.shape == (0, 4) and faces.landmarks.shape == (0, 5, 2) and networks.seen == PYRAMID


def test_a_picture_without_a_candidate_has_no_faces() -> None:
    networks = Invented()
    networks.seen.append(())
    assert len(find_faces(PICTURE, networks, 20, THRESHOLDS)) == 0


BOXES = np.array([(0, 0, 10, 10), (0, 0, 10, 9), (20, 0, 30, 10), (0, 5, 10, 15), (2, 2, 4, 4)], np.float32)


def test_overlaps_are_those_worked_by_hand() -> None:
    assert iou(BOXES[:1], BOXES)[0].tolist() == pytest.approx([1, 0.9, 0, 1 / 3, 0.04])
    # With the pixels at both ends: 11 x 11, 11 x 10, 11 x 11, 11 x 11 and 3 x 3.
    assert share_of_smaller(BOXES[:1], BOXES)[0].tolist() == pytest.approx([1, 1, 0, 66 / 121, 1])


def test_a_box_that_overlaps_a_better_one_is_dropped_and_the_rest_comes_best_first() -> None:
    scores = np.array([0.7, 0.9, 0.8, 0.6, 0.5], np.float32)
    assert suppressed(BOXES, scores, 0.5, iou).tolist() == [1, 2, 3, 4]
    assert suppressed(BOXES, scores, 0.2, iou).tolist() == [1, 2, 4]
    assert surest(BOXES, scores).tolist() == [1, 2, 3]


def test_of_equal_boxes_the_first_stays_among_candidates_and_the_last_among_faces() -> None:
    boxes, scores = BOXES[[0, 0, 0]], np.ones(3, np.float32)
    assert suppressed(boxes, scores, 0.5, iou).tolist() == [0] and surest(boxes, scores).tolist() == [2]


def test_none_and_one_are_left_as_they_are() -> None:
    for n in (0, 1):
        assert suppressed(BOXES[:n], np.ones(n, np.float32), 0.5, iou).tolist() == list(range(n))


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_tables_of_overlaps_in_parts_drop_the_same_boxes(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 60, (50, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (50, 2))], 1).astype(np.float32)
    scores = rng.uniform(0, 1, 50).round(1).astype(np.float32)
    whole = suppressed(boxes, scores, 0.4, iou).tolist()
    monkeypatch.setattr(mtcnn_cascade, "TABLE_ROWS", rows)
    assert suppressed(boxes, scores, 0.4, iou).tolist() == whole and 1 < len(whole) < 50


@pytest.mark.parametrize("seed", range(4))
def test_faces_are_suppressed_as_facenet_suppresses_them(seed: int) -> None:
    pytest.importorskip("facenet_pytorch")
    from facenet_pytorch.models.utils.detect_face import nms_numpy

    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (30, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (30, 2))], 1).astype(np.float32)
    scores = rng.permutation(30).astype(np.float32)
    assert surest(boxes, scores).tolist() == nms_numpy(boxes, scores, 0.7, "Min").tolist()

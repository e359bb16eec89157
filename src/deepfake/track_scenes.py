"""Invented scenes for judging the linker: three people who cross, seen by a detector that errs.

Who is who is known in every frame, so `benchmark_tracks` and the tests can count wrong identities.
Another kind of motion is one line in `MOTIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepfake.faces import Faces

FPS = 30.0
DURATION_S = 10.0
N_PEOPLE = 3
MISS_RATE = 0.1
FALSE_RATE = 0.05  # false boxes for each true one
WIDTH_PX, HEIGHT_PX = 1280.0, 720.0
# Seconds a person takes to cross the picture and come back. The fastest moment of a scene moves a face by
# about 1.7 or 4 of its widths in a second; two people meet about 4 or 11 times.
MOTIONS = {"slow": 12.0, "fast": 5.0}
EVERY = (1, 3, 10, 20)
# A detector finds one face where two overlap by more; its neighbour is then hidden, not missed.
HIDDEN_OVERLAP = 0.4
APPEARANCE_LENGTH = 16
APPEARANCE_NOISE = 0.25  # of each entry of a vector whose length is 1: pictures of one person share a cosine of 0.5


@dataclass(frozen=True)
class SceneFrame:
    """One sampled frame: the people in sight (`truth` boxes (n, 4) of `people`), and what the detector says.

    `appearance` (m, 16) describes each found face; `found_people` (m,) tells whose it is, -1 for a false box.
    """

    index: int
    time_s: float
    truth: np.ndarray
    people: list[int]
    faces: Faces
    appearance: np.ndarray
    found_people: list[int]


def make_scene(motion: str, every: int, seed: int) -> list[SceneFrame]:
    """Ten seconds of three people in every n-th frame; scenes of one seed show the same people on the same ways."""
    ways = np.random.default_rng([seed, 0])
    sides = ways.uniform(70, 130, N_PEOPLE)
    phases = ways.uniform(0, 2 * np.pi, N_PEOPLE) + np.arange(N_PEOPLE) * 2 * np.pi / N_PEOPLE
    period_s = MOTIONS[motion] * ways.uniform(0.8, 1.25, N_PEOPLE)
    reach_px = ways.uniform(200, 320, N_PEOPLE)
    height_px = HEIGHT_PX / 2 + ways.uniform(-50, 50, N_PEOPLE)
    sway_px = ways.uniform(10, 60, N_PEOPLE)
    looks = _unit(ways.normal(size=(N_PEOPLE, APPEARANCE_LENGTH)))
    errors = np.random.default_rng([seed, every, list(MOTIONS).index(motion), 1])
    frames = []
    for index in range(0, round(DURATION_S * FPS), every):
        turn = 2 * np.pi * index / FPS / period_s + phases
        x = WIDTH_PX / 2 + reach_px * np.sin(turn)
        y = height_px + sway_px * np.sin(1.7 * turn + 2 * phases)
        side = sides * (1 + 0.1 * np.sin(0.6 * turn))
        boxes = np.stack([x - side / 2, y - 0.6 * side, x + side / 2, y + 0.6 * side], 1)
        frames.append(_seen(index, boxes, looks, errors))
    return frames


def _seen(index: int, boxes: np.ndarray, looks: np.ndarray, errors: np.random.Generator) -> SceneFrame:
    """What a detector says of one frame: it shakes, misses people, hides those behind others and invents faces."""
    people = [n for n in range(N_PEOPLE) if all(_iou(boxes[n], boxes[m]) <= HIDDEN_OVERLAP for m in range(n))]
    found = [n for n in people if errors.uniform() >= MISS_RATE]
    seen = [_shaken(boxes[n], errors) for n in found]
    vectors = [looks[n] + errors.normal(0, APPEARANCE_NOISE, APPEARANCE_LENGTH) for n in found]
    scores = list(errors.uniform(0.9, 1, len(found)))
    for _ in range(int((errors.uniform(size=N_PEOPLE) < FALSE_RATE).sum())):
        corner, side = errors.uniform((0, 0), (WIDTH_PX - 130, HEIGHT_PX - 160)), errors.uniform(70, 130)
        seen.append(np.concatenate([corner, corner + np.array([side, 1.2 * side])]))
        vectors.append(errors.normal(size=APPEARANCE_LENGTH))
        scores.append(errors.uniform(0.9, 0.99))
        found.append(-1)
    order = errors.permutation(len(found))
    n = len(found)
    return SceneFrame(
        index=index,
        time_s=index / FPS,
        truth=boxes[people],
        people=people,
        faces=Faces(
            np.array(seen, np.float32).reshape(-1, 4)[order],
            np.array(scores, np.float32)[order],
            np.zeros((n, 5, 2), np.float32),
        ),
        appearance=_unit(np.array(vectors).reshape(-1, APPEARANCE_LENGTH)[order]),
        found_people=[found[i] for i in order],
    )


def _shaken(box: np.ndarray, errors: np.random.Generator) -> np.ndarray:
    side = box[2] - box[0]
    centre, half = (box[:2] + box[2:]) / 2 + errors.normal(0, 0.03, 2) * side, (box[2:] - box[:2]) / 2
    half = half * errors.normal(1, 0.04)
    return np.concatenate([centre - half, centre + half])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    both = float(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod())
    return both / float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - both)

"""Trackers of the `trackers` package on given boxes. Runs alone, in a virtual environment that has it.

Started by `benchmark_tracks` as a script, as the package brings an OpenCV that is not ours: imports nothing of
ours, reads JSON from stdin, writes JSON to stdout. Another tracker is one line in `TRACKERS`.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import supervision
from trackers import ByteTrackTracker, OCSORTTracker, SORTTracker

TRACKERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "SORT": (SORTTracker, {}),
    "ByteTrack": (ByteTrackTracker, {}),
    "OC-SORT": (OCSORTTracker, {}),
    # Best mean IDF1 on seeds 100 and 101: minimum IoU .001, .05 or .1, shown from the 1st or 2nd face on.
    "SORT, tuned": (SORTTracker, {"minimum_consecutive_frames": 1, "minimum_iou_threshold": 0.001}),
    "ByteTrack, tuned": (ByteTrackTracker, {"minimum_consecutive_frames": 1, "minimum_iou_threshold": 0.001}),
    "OC-SORT, tuned": (OCSORTTracker, {"minimum_consecutive_frames": 1, "minimum_iou_threshold": 0.001}),
}


def track(name: str, scene: dict[str, Any]) -> list[list[int]]:
    """Track number of each box of each frame, -1 for none; a lost track is kept for a second, as ours is."""
    kind, settings = TRACKERS[name]
    tracker = kind(lost_track_buffer=30, frame_rate=scene["fps"], **settings)
    numbers = []
    for boxes, scores in zip(scene["boxes"], scene["scores"], strict=True):
        n = len(boxes)
        detections = supervision.Detections(
            xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            confidence=np.array(scores, np.float32),
            class_id=np.zeros(n, int),
            data={"place": np.arange(n)},
        )
        answer = tracker.update(detections)
        row = [-1] * n
        if n and answer.tracker_id is not None:
            # Boxes come back in another order.
            for place, number in zip(answer.data["place"], answer.tracker_id, strict=True):
                row[int(place)] = int(number)
        numbers.append(row)
    return numbers


def main() -> None:
    """Answer with the version and, for each tracker, the numbers of each scene."""
    scenes = json.load(sys.stdin)
    numbers = {name: [track(name, scene) for scene in scenes] for name in TRACKERS}
    json.dump({"version": version("trackers"), "numbers": numbers}, sys.stdout)


if __name__ == "__main__":
    main()

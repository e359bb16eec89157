"""People in a checked video: compared where there is more than one track, kept, and never needed for a score."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deepfake.catalog import embeddings
from deepfake.catalog import people as catalog_people
from deepfake.detector.people_seen import people_seen
from deepfake.faces.extracted import Extraction
from invented_people import embedding, face
from run_command import ENVIRONMENT


def scored(*tracks: int) -> Any:
    faces = tuple(face(track, 10 * track, track) for track in tracks)
    reading = SimpleNamespace(extraction=Extraction("v", "crops/a.tar", faces=faces))
    return SimpleNamespace(tracks=[SimpleNamespace(track=track) for track in tracks], reading=reading)


def test_a_single_track_is_compared_with_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_people, "kept_embeddings", None)
    assert people_seen(scored(0), tmp_path) == {0: 0}
    assert people_seen(scored(), tmp_path) == {}


def test_whoever_sees_one_face_does_not_wait_for_what_compares_them() -> None:
    program = (
        "import sys; from pathlib import Path; from types import SimpleNamespace as Some\n"
        "from deepfake.detector.people_seen import people_seen\n"
        "people_seen(Some(tracks=[Some(track=0)], reading=Some()), Path())\n"
        "print([name for name in sys.modules if name.startswith('deepfake.catalog')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.stdout == "[]\n", done.stderr


def test_kept_embeddings_are_enough_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [embedding(0, 0), embedding(1, 90), embedding(2, 5)]
    monkeypatch.setattr(catalog_people, "kept_embeddings", lambda *_: known)
    monkeypatch.setattr(embeddings, "is_available", lambda: False)
    assert people_seen(scored(0, 1, 2), tmp_path) == {0: 0, 1: 1, 2: 0}


def test_without_the_package_nobody_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "is_available", lambda: False)
    assert people_seen(scored(0, 1), tmp_path) is None


def test_crops_that_are_lost_cost_the_persons_and_not_the_check(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert people_seen(scored(0, 1), tmp_path) is None
    assert "people are not told apart: shard" in caplog.text
    assert (
        catalog_people.kept_embeddings(tmp_path, scored(0, 1).reading.extraction.faces, catalog_people.People()) is None
    )

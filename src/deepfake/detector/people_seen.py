"""Which tracks of a checked video show one person: for the page and the JSON; no score depends on it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.errors import UserError

if TYPE_CHECKING:
    from deepfake.detector.score_videos import Scored

log = logging.getLogger(__name__)


def people_seen(scored: Scored, cache_dir: Path) -> dict[int, int] | None:
    """The person of each track, from 0 by first appearance; None where faces cannot be compared here.

    What was made before is read back; a single track is compared with nothing.
    """
    tracks = [score.track for score in scored.tracks]
    if len(tracks) < 2 or scored.reading is None:
        return dict.fromkeys(tracks, 0)
    # Only now: most videos show one face, and whoever waits for a verdict waits for imports, too.
    from deepfake.catalog.people import embedded_tracks, kept_embeddings, people_in_video
    from deepfake.settings import People

    faces, settings = scored.reading.extraction.faces, People()
    found = kept_embeddings(cache_dir, faces, settings)
    if found is None:
        from deepfake.catalog.embeddings import is_available

        if not is_available():
            return None
        try:
            found = embedded_tracks(cache_dir, faces, settings)
        except UserError as error:
            log.warning("people are not told apart: %s", error)
            return None
    people = people_in_video(found, faces, settings)
    return {track: people[track] for track in tracks}

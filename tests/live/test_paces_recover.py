"""What took too long for a while is tried again: a busy minute of the machine does not end the scores of a watch."""

from __future__ import annotations

import numpy as np
import pytest
import test_watch
from test_watch import Networks2, one_face, updates

from deepfake.live.budget import EASED, Paces
from learning_data import one_thread  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")
SLOW_MS, FAST_MS, SLOW_S = 900.0, 20.0, 6.0


def test_a_pace_that_keeps_something_from_being_done_falls() -> None:
    paces = Paces()
    for name in ("a", "b"):
        paces.add(name, 100.0)
    paces.ease(["a", "never measured"])
    assert (paces.ms("a"), paces.ms("b")) == (pytest.approx(100 * EASED), 100.0)
    paces.add("a", 120.0)
    assert paces.ms("a") == 120.0


def test_scores_go_on_after_networks_were_slow_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = property(lambda self: SLOW_MS if self.clock.now_s < 100 + SLOW_S else FAST_MS, lambda self, value: None)
    monkeypatch.setattr(Networks2, "view_ms", slow, raising=False)
    rows, _, _ = test_watch.watched(one_face, seconds=40)
    scored = {row.time_s: row.persons[0].n_scored for row in updates(rows) if row.persons}
    late = [n for time_s, n in scored.items() if time_s > SLOW_S + 5]
    assert min(np.diff(late)) >= 0 and late[-1] - late[0] > 60, "several a second again"
    assert all(row.persons[0].recent is not None for row in updates(rows) if row.time_s > SLOW_S + 5)

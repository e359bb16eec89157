"""What members cost: seconds of scoring videos, noted beside the networks and never among a stage's outputs.

No two runs take equally long, so no table and no manifest may hold a time. A stage that is stopped and started again
writes each note again as a whole, from the parts it has: none is lost, none counts twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from deepfake.files import write_whole

SCORED = ("oof", "test")  # what there is a note of: out of fold, and the videos to predict


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock of scoring `n_videos` with one network each; a video that two networks score counts twice.

    `needs` are the members whose outputs it is made of, which cost extra; `machine` is what it ran on.
    """

    seconds: float
    n_videos: int
    needs: tuple[str, ...] = ()
    machine: str = ""


def total(parts: Iterable[Cost | None]) -> Cost:
    """The parts together, leaving out those of unknown cost."""
    known = [part for part in parts if part is not None and part.n_videos]
    return Cost(
        math.fsum(part.seconds for part in known),
        sum(part.n_videos for part in known),
        tuple(sorted({name for part in known for name in part.needs})),
        "; ".join(sorted({part.machine for part in known if part.machine})),
    )


def cost_path(run_dir: Path, member: str, scored: str) -> Path:
    """Where a member's cost is noted; `scored` is one of SCORED."""
    return run_dir / member / f"cost_{scored}.json"


def write_cost(path: Path, cost: Cost) -> None:
    """Write a note, whole or not at all."""
    write_whole(path, (json.dumps(asdict(cost), indent=1, sort_keys=True) + "\n").encode())


def read_cost(path: Path) -> Cost | None:
    """Read a note; None: there is none, or it is not one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        cost = Cost(**{**values, "needs": tuple(values["needs"])})
        is_sound = math.isfinite(cost.seconds) and cost.seconds >= 0 and cost.n_videos >= 0
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return cost if is_sound else None


def run_costs(run_dir: Path, members: Iterable[str]) -> dict[str, Cost]:
    """What is noted of a run's members; of a member without a note there is nothing."""
    sums = {name: total(read_cost(cost_path(run_dir, name, scored)) for scored in SCORED) for name in members}
    return {name: cost for name, cost in sums.items() if cost.n_videos}


def costs_ms(costs: Mapping[str, Cost]) -> dict[str, dict[str, float]]:
    """Milliseconds a video of each part a member needs, by the part's name; members with an unknown part are left out.

    Parts that members share have one name, so that they are paid once.
    """
    alone = {name: 1000 * cost.seconds / cost.n_videos for name, cost in costs.items()}
    parts = {name: (*cost.needs, name) for name, cost in costs.items()}
    return {name: {part: alone[part] for part in own} for name, own in parts.items() if set(own) <= alone.keys()}

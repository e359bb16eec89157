"""How often each trace of editing is found where it was made, and told where nobody edited.

Thresholds are chosen on one half of the publishers and tried on the other: by the halves of `lab.traces_clips`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from scipy.stats import binomtest
from tqdm import tqdm

from deepfake.evidence import coding
from deepfake.evidence.coding import MOST_DECODED_PX, N_PICTURES, SOUND_HZ, TRACES
from deepfake.media.coded import read_coded, read_pictures, read_samples
from deepfake.media.demux import VideoError
from lab.traces_clips import PLAIN, Made

# The changes that each trace is of.
MADE_BY: Mapping[str, tuple[str, ...]] = {
    "settings_change": ("appended without coding",),
    "noise_change": ("spliced", "grain from the middle on"),
    "borders_change": ("borders from the middle on",),
    "earlier_grid": ("cropped",),
    "enlarged": ("enlarged",),
    "constant_quantiser": ("constant quantiser",),
    "sound_band_change": ("sound of two bandwidths", "sound of two rooms"),
}
ALLOWED = 0.02  # of the plain clips of the first half, of each kind: so that the other half has a chance of 5 %
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """So many of so many."""

    n_told: int
    n: int

    def __str__(self) -> str:
        if self.n == 0:
            return "-"
        low, high = binomtest(self.n_told, self.n).proportion_ci(CONFIDENCE, "exact")
        return f"{self.n_told}/{self.n} = {self.n_told / self.n:.0%} ({low:.0%}..{high:.0%})"


def measure(made: Sequence[Made]) -> pd.DataFrame:
    """A row for each clip and trace: value, change, half, group; NaN where it could not be looked for."""
    rows = []
    for clip in tqdm(made, "clips"):
        try:
            coded = read_coded(clip.path)
            pictures = read_pictures(clip.path, coded, N_PICTURES, MOST_DECODED_PX)
        except VideoError:
            continue
        traces = coding.measure(coded, pictures, read_samples(clip.path, SOUND_HZ))
        for name, trace in traces.items():
            # What was done to the sound alone has a picture of no interest, and the other way round.
            if clip.change == PLAIN[0] or name.startswith("sound") == clip.change.startswith("sound"):
                value = math.nan if trace.value is None else trace.value
                rows.append((name, clip.change, clip.half, clip.group, str(clip.path), value))
    return pd.DataFrame(rows, columns=["trace", "change", "half", "group", "path", "value"])


def threshold_of(values: pd.DataFrame) -> float:
    """The lowest threshold that at most ALLOWED of each plain kind of the first half reaches."""
    plain = values[(values["half"] == 0) & values["change"].isin(PLAIN) & values["value"].notna()]
    above = [0.0]
    for _, some in plain.groupby("change"):
        ordered = some["value"].sort_values(ascending=False).to_list()
        above.append(ordered[min(int(ALLOWED * len(ordered)), len(ordered) - 1)])
    return max(above) * 1.02


def table(values: pd.DataFrame) -> pd.DataFrame:
    """For each trace and half that was not chosen by: how often it is told, change by change."""
    rows = []
    for name, changes in MADE_BY.items():
        of = values[(values["trace"] == name) & values["value"].notna()]
        chosen = threshold_of(of)
        used = TRACES[name].threshold
        held = of[of["half"] == 1]
        row = {"trace": name, "chosen": round(chosen, 3), "used": round(used, 3)}
        for change in changes:
            row["made by"], row["found"] = change, str(_rate(held, change, used))
            rows.append({**row, **{plain: str(_rate(held, plain, used)) for plain in PLAIN}})
    return pd.DataFrame(rows)


def _rate(values: pd.DataFrame, change: str, threshold: float) -> Rate:
    some = values.loc[values["change"] == change, "value"]
    return Rate(int((some >= threshold).sum()), len(some))


def wrong(values: pd.DataFrame) -> pd.DataFrame:
    """Clips of both halves that nobody edited and that a trace is told of, for a look at them."""
    used = values["trace"].map(lambda name: TRACES[name].threshold)
    return values[values["change"].isin(PLAIN) & (values["value"] >= used)].sort_values(["trace", "path"])

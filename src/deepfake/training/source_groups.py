"""Labelled clips of several collections, grouped so that two groups share no publisher, person or generator.

A table of CLIPS columns in, values out; no network, no files. Letters: N clips.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from deepfake.training.folds import deal, groups_of

# label: 1 forged; split: the collection and part a clip is of.
CLIPS = ("clip", "label", "family", "generator", "identity", "source", "split")
LINKS = ("source", "identity", "generator")  # columns of which clips of one group share a value
NOBODY = ("", "-", "unknown", "none")


def plain_generator(name: str) -> str:
    """A generator without the model it ran or what came after it: "DFM (of A)" and "DFM + face SR" are "DFM"."""
    return name.partition(" (")[0].partition(" + ")[0].strip()


def shared_names(clips: pd.DataFrame, column: str) -> list[str]:
    """Whom each clip is linked by, in one of LINKS: a publisher, person or plain generator; empty where nobody."""
    values = clips[column].astype(str)
    plain = values.map(plain_generator) if column == "generator" else values
    return ["" if name.strip().lower() in NOBODY else name for name in plain]


def source_groups(clips: pd.DataFrame) -> np.ndarray:
    """The group (N,) of each clip: clips of one publisher, person or generator, however indirectly, share one."""
    names = [f"{i:06d}" for i in range(len(clips))]
    links: list[tuple[str, str]] = []
    for column in LINKS:
        first: dict[str, str] = {}
        for name, value in zip(names, shared_names(clips, column), strict=True):
            if value:
                links.append((first.setdefault(value, name), name))
    found = groups_of(names, links)
    return np.array([int(found[name]) for name in names])


def deal_folds(clips: pd.DataFrame, n_folds: int, seed: int = 0) -> np.ndarray:
    """The fold (N,) of each clip; groups are never divided, folds hold reals and fakes about evenly."""
    group = source_groups(clips)
    table = pd.DataFrame({"group": group.astype(str), "n_fake": clips["label"].to_numpy()})
    counts = table.groupby("group")["n_fake"].agg(n_fake="sum", n_all="count").reset_index()
    counts["n_real"] = counts["n_all"] - counts["n_fake"]
    of_group = deal(counts, n_folds, seed)
    return np.array([of_group[str(g)] for g in group])


def group_names(clips: pd.DataFrame) -> list[str]:
    """The name of each clip's group: its largest publisher, and how many more there are."""
    group = source_groups(clips)
    named = {}
    for number in set(group.tolist()):
        sources = clips.loc[group == number, "source"].astype(str).value_counts(sort=False)
        largest = sorted(sources.items(), key=lambda one: (-one[1], one[0]))[0][0]
        others = len(sources) - 1
        named[number] = str(largest) + (f" and {others} more" if others else "")
    return [named[number] for number in group.tolist()]

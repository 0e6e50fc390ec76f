"""What a number of a result is called, in which unit, and which direction is more robust: one entry a metric.

A module that computes a metric registers it; tables, figures and verdicts ask here and spell no name of their own.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from jsep.checks import check_choice

PAPER, SCALE_FREE = "as in the paper", "free of the scale of the map"
SPLIT, OTHER = "concentration and overlap", "other ways to compare the maps"
TRAINING = "maps under noise, best and last checkpoint"
QUALITY = "faithfulness and stability of the maps, AutoAttack"
GROUPS = (PAPER, SCALE_FREE, SPLIT, OTHER, TRAINING, QUALITY)
"""Parts of the tables, in order."""

LOSS_SCALE = 1e7
"""Explanation losses are shown x 1e-7, as in the paper."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """One number of a model.

    name: its key in a row of result.json; heading: its name in a table; unit: of the shown number, "" for none;
    scale: shown number = scale * number; decimals: digits after the point, None so that the smallest entry keeps three
    significant ones; group: of `GROUPS`; meaning: one or two sentences for who sees it for the first time; better: +1
    where a higher value is a more robust model, -1 where a lower one is, 0 where neither is said.
    """

    name: str
    heading: str
    unit: str
    scale: float
    decimals: int | None
    group: str
    meaning: str
    better: int = 0
    of_pairs: Callable[[Mapping[str, np.ndarray]], np.ndarray] | None = None
    is_accuracy: bool = False
    in_tables: bool = True

    @property
    def title(self) -> str:
        """Heading and unit in one line."""
        return f"{self.heading} [{self.unit}]" if self.unit else self.heading


METRICS: dict[str, Metric] = {}
"""name -> metric, in the order of registration."""


def register(*metrics: Metric) -> None:
    """Adds metrics to `METRICS`; one of the same name is replaced. Raises: InputError for an unknown group."""
    for metric in metrics:
        check_choice("group of a metric", metric.group, GROUPS)
        METRICS[metric.name] = metric


def accuracy(name: str, heading: str, group: str, meaning: str) -> Metric:
    """The share of test images on which a model is right, kept as a fraction and shown in percent."""
    return Metric(name, heading, "%", 100.0, 1, group, meaning, 1, is_accuracy=True)


def percent(
    name: str,
    heading: str,
    group: str,
    meaning: str,
    better: int = 0,
    of_pairs: Callable[[Mapping[str, np.ndarray]], np.ndarray] | None = None,
) -> Metric:
    """A share, kept as a fraction and shown in percent."""
    return Metric(name, heading, "%", 100.0, 1, group, meaning, better, of_pairs)


def loss(name: str, heading: str, group: str, meaning: str, better: int = 0) -> Metric:
    """A mean squared difference of maps, shown x 1e-7."""
    return Metric(name, heading, "1e-7", LOSS_SCALE, None, group, meaning, better)


def plain(
    name: str, heading: str, group: str, meaning: str, better: int = 0, *, unit: str = "", decimals: int | None = 3
) -> Metric:
    """A number that is shown as it is kept."""
    return Metric(name, heading, unit, 1.0, decimals, group, meaning, better)


def minor(name: str, heading: str, group: str, meaning: str, better: int = 0) -> Metric:
    """A number that is shown as it is kept, among all metrics alone."""
    return Metric(name, heading, "", 1.0, 3, group, meaning, better, in_tables=False)

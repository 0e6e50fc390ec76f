"""The registry of metrics: name, unit, display scale and the direction that is more robust.

Each metric is registered by the module that computes it; tables, figures and verdicts look it up here.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Self

import numpy as np

from jsep.checks import check_choice

PAPER, SCALE_FREE = "as in the paper", "free of the scale of the map"
SPLIT, OTHER = "concentration and overlap", "other ways to compare the maps"
TRAINING = "maps under noise, best and last checkpoint"
QUALITY = "faithfulness and stability of the maps, AutoAttack"
GROUPS = (PAPER, SCALE_FREE, SPLIT, OTHER, TRAINING, QUALITY)
"""Groups of metrics, in the order of their tables."""

LOSS_UNIT = "N²·MSE"
"""The unit in which explanation losses are displayed: the mean squared difference of two maps times the square of their
number of pixels N. It does not depend on the size of the images."""

LOSS_SCALE = 1e7
"""The paper shows mean squared differences in units of 1e-7: only for what stands beside its own numbers."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric of a model.

    name: its key in a row of result.json.
    heading: its name in a table; unit: of the displayed number, "" for none.
    scale: displayed number = scale * stored number; NaN for an explanation loss before `of_maps`.
    decimals: decimal places; None: as many as give the smallest entry of a table three significant digits.
    group: of `GROUPS`, the table it belongs to.
    meaning: one or two sentences for a reader new to the metric.
    better: +1 if higher values mean a more robust model, -1 if lower ones do, 0 for neither.
    of_pairs: per_pair values by name -> (P,) values whose mean is the metric; None: per_pair holds them under its name.
    is_accuracy: whether it is a fraction of test images; in_tables: False for metrics of the full list only;
      is_remark: whether it is displayed only where it is not 0 for some method;
      is_loss: whether it is stored as a mean squared difference of maps, and displayed in `LOSS_UNIT`.
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
    is_remark: bool = False
    is_loss: bool = False

    @property
    def title(self) -> str:
        """Heading and unit in one line."""
        return f"{self.heading} [{self.unit}]" if self.unit else self.heading

    def of_maps(self, num_pixels: int | None) -> Self:
        """The metric as displayed for maps of N pixels: an explanation loss times N², anything else as it is.

        Where N is not known, a loss is displayed as stored, and its unit says so.
        """
        if not self.is_loss:
            return self
        if num_pixels is None:
            return dataclasses.replace(self, unit="MSE", scale=1.0)
        return dataclasses.replace(self, scale=float(num_pixels) ** 2)


METRICS: dict[str, Metric] = {}
"""name -> metric, in the order of registration."""


def register(*metrics: Metric) -> None:
    """Adds metrics to `METRICS`, replacing those of the same name. Raises: InputError for an unknown group."""
    for metric in metrics:
        check_choice("group of a metric", metric.group, GROUPS)
        METRICS[metric.name] = metric


def accuracy(name: str, heading: str, group: str, meaning: str) -> Metric:
    """A metric that is a fraction of test images, displayed in percent."""
    return Metric(name, heading, "%", 100.0, 1, group, meaning, 1, is_accuracy=True)


def percent(
    name: str,
    heading: str,
    group: str,
    meaning: str,
    better: int = 0,
    of_pairs: Callable[[Mapping[str, np.ndarray]], np.ndarray] | None = None,
) -> Metric:
    """A metric that is a fraction, displayed in percent."""
    return Metric(name, heading, "%", 100.0, 1, group, meaning, better, of_pairs)


def loss(name: str, heading: str, group: str, meaning: str, better: int = 0) -> Metric:
    """A metric that is a mean squared difference of maps, displayed times the square of their number of pixels."""
    return Metric(name, heading, LOSS_UNIT, math.nan, None, group, meaning, better, is_loss=True)


def plain(
    name: str, heading: str, group: str, meaning: str, better: int = 0, *, unit: str = "", decimals: int | None = 3
) -> Metric:
    """A metric displayed as stored."""
    return Metric(name, heading, unit, 1.0, decimals, group, meaning, better)


def minor(name: str, heading: str, group: str, meaning: str, better: int = 0) -> Metric:
    """A metric displayed as stored, in the list of all metrics only."""
    return Metric(name, heading, "", 1.0, 3, group, meaning, better, in_tables=False)


def scale_free(name: str, heading: str, meaning: str, better: int = 0) -> Metric:
    """An explanation loss that is stored as it is displayed. Tables show it in the column of the loss itself."""
    return Metric(name, heading, LOSS_UNIT, 1.0, None, SCALE_FREE, meaning, better, in_tables=False)


def remark(name: str, heading: str, meaning: str) -> Metric:
    """A number of images or pairs that is expected to be 0, and displayed only where it is not."""
    return Metric(name, heading, "", 1.0, 0, PAPER, meaning, 0, is_remark=True)

"""Detection of collapsed maps, concentrated on a few pixels, during training, and the reaction to them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jsep.checks import check_choice, check_positive

ACTIONS = ("ignore", "flag", "stop")
"""Possible reactions to collapsed maps."""

EFFECTIVE_PIXELS = "probe_effective_pixels"
"""The key of the validation record that the rule checks: mean effective pixels of the maps of a few images."""


@dataclasses.dataclass(frozen=True)
class CollapseRule:
    """What training does when the maps of the validation images have collapsed to a few pixels.

    With a negative SEP weight the SEP term can grow without bound as maps shrink to a single pixel.

    action: "ignore", "flag" (sets "collapsed": 1 in the validation record) or "stop" (raises `TrainingDiverged`).
    min_effective_pixels: maps with fewer effective pixels on average count as collapsed, >= 0.
    """

    action: str = "flag"
    min_effective_pixels: float = 2.0

    def __post_init__(self) -> None:
        check_choice("on_collapse", self.action, ACTIONS)
        check_positive("min_effective_pixels", self.min_effective_pixels, allow_zero=True)

    def broken_by(self, record: Mapping[str, Any]) -> bool:
        """Whether the validation record shows collapsed maps; False with the action "ignore"."""
        if self.action == "ignore" or EFFECTIVE_PIXELS not in record:
            return False
        return not record[EFFECTIVE_PIXELS] >= self.min_effective_pixels  # NaN counts as collapsed too

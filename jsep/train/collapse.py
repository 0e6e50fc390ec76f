"""When the maps of a model in training have shrunk to a few pixels, and what then happens."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jsep.checks import check_choice, check_positive

ACTIONS = ("ignore", "flag", "stop")
"""What may be done about collapsed maps."""

EFFECTIVE_PIXELS = "probe_effective_pixels"
"""The name in a validation record under which the rule looks: the mean effective pixels of the maps of a few images."""


@dataclasses.dataclass(frozen=True)
class CollapseRule:
    """What training does when the maps of the validation images have collapsed to a few pixels.

    With a negative SEP weight the penalty can grow without bound as the maps shrink to a single pixel.

    action: "ignore", "flag" (the validation record gets "collapsed": 1) or "stop" (`TrainingDiverged` is raised).
    min_effective_pixels: maps with fewer effective pixels on average count as collapsed, >= 0.
    """

    action: str = "flag"
    min_effective_pixels: float = 2.0

    def __post_init__(self) -> None:
        check_choice("on_collapse", self.action, ACTIONS)
        check_positive("min_effective_pixels", self.min_effective_pixels, allow_zero=True)

    def broken_by(self, record: Mapping[str, Any]) -> bool:
        """Whether the validation record shows collapsed maps; never under "ignore"."""
        if self.action == "ignore" or EFFECTIVE_PIXELS not in record:
            return False
        return not record[EFFECTIVE_PIXELS] >= self.min_effective_pixels  # nan is broken too

"""Studies: several methods and seeds, trained, attacked on the same pairs and reported in one run directory."""

from jsep.study.config import METHODS, StudyConfig
from jsep.study.run import DEGRADED_MARGIN, run

__all__ = ["DEGRADED_MARGIN", "METHODS", "StudyConfig", "run"]

"""Statistics for few seeds and shared test images, in NumPy and SciPy; independent of the rest of the library.

`inference`: confidence intervals of one sample and Holm's correction; `crossed`: the mean over seeds and images, with
tests; `correlation`: correlations over many models.
"""

from jsep.arguments import explain_failures
from jsep.stats.correlation import correlation, partial_correlation
from jsep.stats.crossed import CrossedMean, crossed_mean, mean_of_interval, mean_over_seeds
from jsep.stats.inference import Interval, band, holm, t_interval

__all__ = [
    "CrossedMean",
    "Interval",
    "band",
    "correlation",
    "crossed_mean",
    "holm",
    "mean_of_interval",
    "mean_over_seeds",
    "partial_correlation",
    "t_interval",
]

explain_failures(__all__, globals())

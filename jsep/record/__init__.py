"""What is kept of a study, and what it says: rows, results, claims and the one place that decides whether they hold.

`row` has a row and a result with the format of result.json, older formats included; `summary` the means and intervals
of each method; `claims` what is asked of a result, as data; `verdict` decides. `run_files` reads what a run directory
holds. `paper_items` lists the figures of the paper and its tables, with the questions of `paper`, `landscape` and
`many`.
"""

from jsep.record.claims import (
    ACCURACY_MARGIN,
    CORRELATION,
    DIFFERENCE,
    OUTCOMES,
    QUESTIONS,
    RATIO,
    Claim,
    Question,
    claims_of,
)
from jsep.record.landscape import SeedMean, landscape_number
from jsep.record.many import TRENDS, correlation_of, harder_as_the_weight_falls, not_strongly_correlated, num_orders
from jsep.record.paper import Comparison, basis, cell_of_matrix, count, sharpened_above_flattened
from jsep.record.paper_items import AT_A_GLANCE, PAPER_ITEMS, STUDY_QUESTIONS, PaperItem
from jsep.record.row import DEGRADED_MARGIN, FORMAT, Result, Row, as_number, is_degraded, pack_correct, upgrade
from jsep.record.run_files import kind_of, read_json
from jsep.record.summary import (
    Shift,
    intervals,
    mean_curve,
    mean_matrix,
    mean_of,
    num_pixels_of,
    shift,
    std_of,
    summarise,
    values_by_epoch,
)
from jsep.record.verdict import (
    EQUAL,
    FAILS,
    HOLDS,
    UNDECIDED,
    UNKNOWN,
    VERDICTS,
    Finding,
    by_question,
    decide,
    difference_of,
    finding_of,
    judge,
    verdict_of,
    verdicts,
    worst,
)

__all__ = [
    "ACCURACY_MARGIN",
    "AT_A_GLANCE",
    "CORRELATION",
    "DEGRADED_MARGIN",
    "DIFFERENCE",
    "EQUAL",
    "FAILS",
    "FORMAT",
    "HOLDS",
    "OUTCOMES",
    "PAPER_ITEMS",
    "QUESTIONS",
    "RATIO",
    "STUDY_QUESTIONS",
    "TRENDS",
    "UNDECIDED",
    "UNKNOWN",
    "VERDICTS",
    "Claim",
    "Comparison",
    "Finding",
    "PaperItem",
    "Question",
    "Result",
    "Row",
    "SeedMean",
    "Shift",
    "as_number",
    "basis",
    "by_question",
    "cell_of_matrix",
    "claims_of",
    "correlation_of",
    "count",
    "decide",
    "difference_of",
    "finding_of",
    "harder_as_the_weight_falls",
    "intervals",
    "is_degraded",
    "judge",
    "kind_of",
    "landscape_number",
    "mean_curve",
    "mean_matrix",
    "mean_of",
    "not_strongly_correlated",
    "num_orders",
    "num_pixels_of",
    "pack_correct",
    "read_json",
    "sharpened_above_flattened",
    "shift",
    "std_of",
    "summarise",
    "upgrade",
    "values_by_epoch",
    "verdict_of",
    "verdicts",
    "worst",
]

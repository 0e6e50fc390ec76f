"""What is kept of a study, and what it says: rows, results, claims and the one place that decides whether they hold.

`row` has a row and a result with the format of result.json, older formats included; `summary` the means and intervals
of each method; `claims` what is asked of a result, as data; `verdict` decides.
"""

from jsep.record.claims import ACCURACY_MARGIN, OUTCOMES, QUESTIONS, Claim, Question, claims_of
from jsep.record.row import DEGRADED_MARGIN, FORMAT, Result, Row, as_number, is_degraded, pack_correct, upgrade
from jsep.record.summary import intervals, mean_of, num_pixels_of, std_of, summarise
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
    "DEGRADED_MARGIN",
    "EQUAL",
    "FAILS",
    "FORMAT",
    "HOLDS",
    "OUTCOMES",
    "QUESTIONS",
    "UNDECIDED",
    "UNKNOWN",
    "VERDICTS",
    "Claim",
    "Finding",
    "Question",
    "Result",
    "Row",
    "as_number",
    "by_question",
    "claims_of",
    "decide",
    "difference_of",
    "finding_of",
    "intervals",
    "is_degraded",
    "judge",
    "mean_of",
    "num_pixels_of",
    "pack_correct",
    "std_of",
    "summarise",
    "upgrade",
    "verdict_of",
    "verdicts",
    "worst",
]

"""The only module that decides claims: claims and a result in, findings out.

Seeds and images are crossed random effects (`stats.crossed_mean`); all claims of a result form one family, and the
p-value after Holm's correction decides. Fewer than three seeds cannot speak for other seeds; what they show about
these models alone is reported beside the verdict.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from jsep import evaluate, stats
from jsep.record.claims import OUTCOMES, QUESTIONS, RATIO, Claim, claims_of
from jsep.record.landscape import log_ratio
from jsep.record.row import Result, Row
from jsep.record.summary import num_pixels_of, pixels_of_maps

HOLDS = "holds"
"""The corrected p is below `ALPHA`, and the difference has the claimed sign."""

FAILS = "does not hold"
"""The corrected p is below `ALPHA`, and the difference has the opposite sign or lies outside the equality margin."""

EQUAL = "equal within the margin"
"""Both one-sided tests reject a difference beyond the margin: the larger corrected p is below `ALPHA`."""

UNDECIDED = "undecided"
"""The data are compatible with either answer, or the sign depends on how strong the attack on explanations is."""

UNKNOWN = "cannot tell"
"""The result lacks what the test needs: seeds, a measurement, or models that are not degraded."""

VERDICTS = (UNKNOWN, FAILS, UNDECIDED, EQUAL, HOLDS)
"""From worst to best; a question gets the worst verdict of its claims."""

ALPHA = 0.05
"""The family-wise error rate of a study, over all of its claims."""

FEWEST_SEEDS = 3
"""With fewer seeds the estimated variance cannot be trusted."""

MOST_SEEDS = 200
"""If this many seeds would not decide a claim, no number of seeds is suggested."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """The outcome of testing one claim on a result.

    verdict: one of `VERDICTS`; mean: the difference method - baseline with its uncertainty, None if not measured; p,
    corrected_p: two-sided for a difference, the larger of two one-sided ones for equality, NaN without a test;
    seeds_needed: seeds that would decide at these variances and this correction, None if decided or if no number does;
    these_models: the interval over images alone, for fewer than `FEWEST_SEEDS` seeds; reason: why nothing can be
    decided, or what was left out; by_attack: attack on explanations -> the difference under it, from the weakest to the
    one that is tested, where more than one was run; measured: the interval to show (a bootstrap's) where the test only
    approximates it; num_pixels: N of the maps, for the unit of an explanation loss, None where it is not known.
    """

    claim: Claim
    verdict: str
    mean: stats.CrossedMean | None = None
    p: float = math.nan
    corrected_p: float = math.nan
    seeds_needed: int | None = None
    these_models: stats.Interval | None = None
    reason: str = ""
    measured: stats.Interval | None = None
    by_attack: Mapping[str, float] = dataclasses.field(default_factory=dict)
    num_pixels: int | None = None

    @property
    def turns(self) -> bool:
        """Whether the sign of the difference is another one under a weaker attack."""
        return len({value > 0 for value in self.by_attack.values()}) > 1

    @property
    def interval(self) -> stats.Interval:
        """The difference with its 95 % interval; with fewer than `FEWEST_SEEDS` seeds, for these models alone."""
        for known in (self.measured, self.these_models):
            if known is not None:
                return known
        nothing = stats.Interval(math.nan, math.nan, math.nan)
        return nothing if self.mean is None else self.mean.interval()


def judge(result: Result, claims: Sequence[Claim] | None = None) -> tuple[Finding, ...]:
    """A finding for every claim, by default for all that `claims_of` lists for the result.

    Args: claims: one family for Holm's correction. Returns: findings in the order of the claims.
    """
    return decide([difference_of(result, claim) for claim in (claims_of(result) if claims is None else claims)])


def finding_of(claim: Claim, mean: stats.CrossedMean | None, *, reason: str = "") -> Finding:
    """The finding for a difference estimated elsewhere, before Holm's correction: pass the whole family to `decide`.

    Args: mean: method - baseline, None if not measured; reason: why it was not measured, or what was left out.
    """
    if mean is None:
        return Finding(claim, UNKNOWN, reason=reason or "not measured for both")
    if mean.num_seeds < FEWEST_SEEDS:
        these = dataclasses.replace(mean, of_seeds=0.0)
        seeds = f"{mean.num_seeds} {'seed' if mean.num_seeds == 1 else 'seeds'}"
        return Finding(
            claim, UNKNOWN, mean, these_models=these.interval(), reason=reason or f"{seeds}: others may differ"
        )
    p = _p_value(claim, mean)
    if math.isnan(p):
        return Finding(claim, UNKNOWN, mean, reason=reason or "one pair tells nothing of others")
    return Finding(claim, UNDECIDED, mean, p=p, reason=reason)


def _p_value(claim: Claim, mean: stats.CrossedMean) -> float:
    return mean.equivalence_p(claim.margin) if claim.is_equality else mean.p_value()


def decide(first: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings of one family with p-values after Holm's correction, and the verdicts that follow."""
    tested = [place for place, finding in enumerate(first) if not math.isnan(finding.p)]
    if not tested:
        return tuple(first)
    corrected = stats.holm([first[place].p for place in tested])
    decided = dict(zip(tested, corrected, strict=True))
    return tuple(
        _decide(finding, float(decided[place]), len(tested)) if place in decided else finding
        for place, finding in enumerate(first)
    )


def worst(verdicts: Iterable[str]) -> str:
    """The worst of the verdicts; `UNKNOWN` for none."""
    found = set(verdicts)
    return next((verdict for verdict in VERDICTS if verdict in found), UNKNOWN)


def verdict_of(findings: Sequence[Finding]) -> str:
    """The verdict on one question: that of its worst claim; `UNKNOWN` if it needs both signs and has one."""
    question = QUESTIONS.get(findings[0].claim.question) if findings else None
    if question is not None and question.both_signs and len({finding.claim.sign for finding in findings}) < 2:
        return UNKNOWN
    return worst(finding.verdict for finding in findings)


def by_question(findings: Sequence[Finding]) -> dict[tuple[str, str], list[Finding]]:
    """(question, subject) -> its findings, in order."""
    found: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        found.setdefault((finding.claim.question, finding.claim.subject), []).append(finding)
    return found


def _contrast(result: Result, claim: Claim, seeds: Sequence[int | None], *, fixed: bool) -> stats.CrossedMean | None:
    """The tested contrast over the seeds, from single pairs or images where kept, else from models; None if absent."""
    rows = {method: result.rows_of(method) for method in claim.weights}
    weights = np.array(list(claim.weights.values()))
    by_seed = [[rows[method][seed] for method in rows] for seed in seeds]
    if claim.scale == RATIO:
        own, others = ([rows[name][seed].numbers for seed in seeds] for name in (claim.method, claim.baseline))
        mean = log_ratio(own, others, claim.metric)
        return dataclasses.replace(mean, of_seeds=0.0) if mean is not None and fixed else mean
    tables = [_table(by_seed, weights, "pairs", claim.metric), _table(by_seed, weights, "images", claim.metric)]
    for table, images in zip(tables, (result.images_of_pairs(), None), strict=True):
        if table is not None:
            fits = images is None or len(images) == table.shape[1]
            return stats.crossed_mean(table, images if fits else None, seeds_are_fixed=fixed)
    if any(claim.metric not in row.metrics for own in by_seed for row in own):
        return None
    values = np.array([[row.metrics[claim.metric] for row in own] for own in by_seed])
    if not np.isfinite(values).all():
        return None
    of_images = _variance_of_shares(result, claim, values, weights)
    return stats.mean_over_seeds(values @ weights, of_images=of_images, seeds_are_fixed=fixed)


def _table(by_seed: Sequence[Sequence[Row]], weights: np.ndarray, of: str, metric: str) -> np.ndarray | None:
    """(S, P or B) weighted sums over the methods, or None where a row lacks the metric or a value is not finite."""
    sums = []
    for own in by_seed:
        values = [row.of_pairs(metric) if of == "pairs" else row.per_image.get(metric) for row in own]
        known = [np.asarray(each, np.float64) for each in values if each is not None]
        if len(known) < len(own) or len({len(each) for each in known}) != 1:
            return None
        sums.append(weights @ np.stack(known))
    if len({len(each) for each in sums}) != 1 or not len(sums[0]):
        return None
    table = np.stack(sums)
    return table if np.isfinite(table).all() else None


def _variance_of_shares(result: Result, claim: Claim, values: np.ndarray, weights: np.ndarray) -> float:
    """The variance that other test images add to a contrast of accuracies for which single images are not kept: that of
    independent samples, an upper bound since models agree on many images. 0 for metrics that are not accuracies."""
    if not evaluate.METRICS[claim.metric].is_accuracy or not result.num_images:
        return 0.0
    shares = values.mean(axis=0)
    return float(np.sum(weights**2 * shares * (1 - shares))) / result.num_images


def difference_of(result: Result, claim: Claim) -> Finding:
    """The finding for a claim before Holm's correction: pass the whole family to `decide`.

    Where the result holds several attacks on explanations, the strongest is tested and the others give the sign alone.
    """
    pixels = num_pixels_of([row.metrics for row in result.rows]) or pixels_of_maps(result.content)
    found = dataclasses.replace(_difference(result, claim), num_pixels=pixels)
    if found.mean is None or claim.metric not in OUTCOMES or not result.weaker_attacks:
        return found
    weaker = {name: _difference(result.under(name), claim).mean for name in result.weaker_attacks}
    by_attack = {name: mean.estimate for name, mean in weaker.items() if mean is not None}
    return dataclasses.replace(found, by_attack={**by_attack, result.rows[0].attack: found.mean.estimate})


def _difference(result: Result, claim: Claim) -> Finding:
    rows = {method: result.rows_of(method) for method in claim.weights}
    first, *others = rows.values()
    shared = [seed for seed in first if all(seed in other for other in others)]
    kept = [seed for seed in shared if not any(own[seed].degraded for own in rows.values())]
    reason = f"{len(shared) - len(kept)} of {len(shared)} seeds left out: degraded" if len(kept) < len(shared) else ""
    if not shared:
        return Finding(claim, UNKNOWN, reason=f"{' and '.join(rows)} share no seed")
    if not kept:
        return Finding(claim, UNKNOWN, reason=reason)
    mean = _contrast(result, claim, kept, fixed=False)
    if mean is None:
        both = "both" if len(rows) == 2 else "all"
        return Finding(claim, UNKNOWN, reason=f"not measured for {both}")
    if len(kept) < FEWEST_SEEDS or len(shared) - len(kept) > 1:
        these = _contrast(result, claim, kept, fixed=True)
        assert these is not None
        seeds = f"{len(kept)} {'seed' if len(kept) == 1 else 'seeds'}"
        return Finding(
            claim, UNKNOWN, mean, these_models=these.interval(), reason=reason or f"{seeds}: others may differ"
        )
    of_pairs = all(own[seed].of_pairs(claim.metric) is not None for seed in kept for own in rows.values())
    if of_pairs and len(result.victims) != mean.num_pairs:
        reason = "; ".join(filter(None, [reason, "pairs taken as independent: their images are not known"]))
    if not mean.num_pairs and not mean.of_images:
        reason = "; ".join(filter(None, [reason, "over seeds alone: values of single images are not kept"]))
    return finding_of(claim, mean, reason=reason)


def _decide(finding: Finding, corrected_p: float, num_tests: int) -> Finding:
    claim, mean = finding.claim, finding.mean
    assert mean is not None
    decided = corrected_p < ALPHA
    if finding.turns:
        verdict = UNDECIDED
    elif not claim.is_equality:
        verdict = UNDECIDED if not decided else FAILS if claim.sign * mean.estimate < 0 else HOLDS
    elif decided:
        verdict = EQUAL
    else:
        side = 1 if mean.estimate > 0 else -1
        outside = mean.one_sided_p(side * claim.margin, side)
        verdict = FAILS if outside * num_tests < ALPHA else UNDECIDED
    factor = corrected_p / finding.p if finding.p > 0 and corrected_p < 1 else num_tests
    needed = _seeds_needed(claim, mean, factor) if verdict == UNDECIDED and not finding.turns else None
    return dataclasses.replace(finding, verdict=verdict, corrected_p=corrected_p, seeds_needed=needed)


def _seeds_needed(claim: Claim, mean: stats.CrossedMean, factor: float) -> int | None:
    """The fewest seeds with corrected p < ALPHA if estimate and variances stay; None above `MOST_SEEDS`."""
    low, high = mean.num_seeds, MOST_SEEDS
    if not _would_decide(claim, mean.with_seeds(high), factor):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _would_decide(claim, mean.with_seeds(middle), factor) else (middle, high)
    return high


def _would_decide(claim: Claim, mean: stats.CrossedMean, factor: float) -> bool:
    return _p_value(claim, mean) * factor < ALPHA


def verdicts(findings: Sequence[Finding]) -> Mapping[tuple[str, str], str]:
    """(question, subject) -> its verdict."""
    return {question: verdict_of(own) for question, own in by_question(findings).items()}

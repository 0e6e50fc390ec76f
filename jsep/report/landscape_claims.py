"""The paper's claims on landscapes, each judged by a function of a result.

A row's "numbers" holds mean and standard error over the images of every quantity.
"""

import itertools
import math

from jsep.report.columns import LOSS_SCALE
from jsep.report.findings import FAILS, HOLDS, Finding, Result, basis, loss_text, mean, unknown, verdict_of_interval
from jsep.report.summary import as_number


def _quantity(result: Result, method: str, name: str) -> tuple[float, float, int] | None:
    """Mean, its standard error, and degrees of freedom: over the seeds, or over the images of one seed."""
    entries = [row["numbers"].get(name) for row in result["rows"] if row["method"] == method]
    known = [entry for entry in entries if entry and as_number(entry["mean"]) is not None]
    if not known or any(not math.isfinite(entry["mean"]) for entry in known):
        return None
    means = [entry["mean"] for entry in known]
    middle = mean(means)
    if len(means) == 1:
        return middle, known[0]["standard_error"], max(known[0]["num_finite"] - 1, 1)
    deviation = math.sqrt(math.fsum((value - middle) ** 2 for value in means) / (len(means) - 1))
    return middle, deviation / math.sqrt(len(means)), len(means) - 1


def _ratio(
    first: tuple[float, float, int] | None, second: tuple[float, float, int] | None
) -> tuple[float, float, float] | None:
    """second / first with a 95 % interval, by the delta method on logarithms and Welch's degrees of freedom."""
    import scipy.stats

    if first is None or second is None or first[0] <= 0 or second[0] <= 0:
        return None
    shares = [(error / middle) ** 2 for middle, error, _ in (first, second)]
    error = math.sqrt(sum(shares))
    if error == 0:
        ratio = second[0] / first[0]
        return ratio, ratio, ratio
    freedom = error**4 / sum(share**2 / value[2] for share, value in zip(shares, (first, second), strict=True))
    half, middle = scipy.stats.t.ppf(0.975, freedom) * error, math.log(second[0] / first[0])
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def _ratio_text(ratio: tuple[float, float, float]) -> str:
    return f"{ratio[0]:.3g} [{ratio[1]:.2g}, {ratio[2]:.2g}]"


def flatter_by_training(scalar: str, quantity: str, words: str, result: Result) -> Finding:
    """Claim: adversarial training flattens a function of the image: a curvature of MAT over standard is below 1."""
    what, paper = f"{words}, mat to standard", "flatter (ratio below 1)"
    first, second = (_quantity(result, method, f"{scalar}/{quantity}") for method in ("standard", "mat"))
    ratio = _ratio(first, second)
    if ratio is None:
        return unknown(what, paper, "not measured for both")
    verdict = verdict_of_interval(math.log(ratio[1]), math.log(ratio[2]), -1)
    return Finding(what, paper, _ratio_text(ratio), verdict, basis(result, ("mat",)))


def _trades_methods(result: Result) -> list[str]:
    """The methods "trades <weight>" by rising weight."""
    names = {row["method"] for row in result["rows"] if row["method"].startswith("trades ")}
    return sorted(names, key=lambda name: float(name.split()[1]))


def same_landscape(quantity: str, words: str, result: Result) -> Finding:
    """Claim: the landscape of the explanation loss does not change with the weight of TRADES, 0 left out."""
    what, paper = f"{words}, largest TRADES weight to smallest above 0", "no visible difference"
    methods = [name for name in _trades_methods(result) if float(name.split()[1]) > 0]
    if len(methods) < 2:
        return unknown(what, paper, "fewer than two weights")
    first, second = (_quantity(result, name, f"explanation_to_own/{quantity}") for name in (methods[0], methods[-1]))
    ratio = _ratio(first, second)
    if ratio is None:
        return unknown(what, paper, "not measured for both")
    return Finding(
        what, paper, _ratio_text(ratio), HOLDS if ratio[1] <= 1 <= ratio[2] else FAILS, basis(result, methods)
    )


def rise_together(result: Result) -> Finding:
    """Claim: with a larger weight of TRADES both robustnesses rise."""
    what, paper = "robust accuracy and loss at the end, by rising TRADES weight", "both rise"
    methods = _trades_methods(result)
    if len(methods) < 2:
        return unknown(what, paper, "fewer than two weights")
    robust = [mean([row["robust_accuracy"] for row in result["rows"] if row["method"] == name]) for name in methods]
    ends = [_quantity(result, name, "explanation_loss_end") for name in methods]
    if any(end is None for end in ends):
        return unknown(what, paper, "no loss at the end")
    losses = [LOSS_SCALE * end[0] for end in ends if end is not None]
    rises = all(a < b for values in (robust, losses) for a, b in itertools.pairwise(values))
    ours = f"{' → '.join(f'{100 * value:.1f}' for value in robust)} %, {' → '.join(map(loss_text, losses))}"
    return Finding(what, paper, ours, HOLDS if rises else FAILS, basis(result, methods))

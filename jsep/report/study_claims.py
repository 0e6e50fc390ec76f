"""The paper's numbers and claims on a study of methods and seeds, each judged by a function of its result."""

import math
from collections.abc import Sequence

from jsep.report.findings import (
    FAILS,
    HOLDS,
    OPEN,
    UNKNOWN,
    Finding,
    Interval,
    Result,
    basis,
    interval_text,
    is_degraded,
    loss_text,
    mean,
    of_pairs,
    paired_difference,
    rows_of,
    scale_of,
    t_interval,
    unknown,
    verdict_of_interval,
    worst,
)
from jsep.report.summary import as_number

POINTS = 2.0
"""Robust accuracies that differ by at most so many points count as equal."""

FEWEST_SEEDS = 3
"""Fewer seeds say less of the difference of two accuracies than the number of images does."""

MAT, TRADES = ("sep_pos", "mat", "sep_neg"), ("trades_sep_pos", "trades", "trades_sep_neg")
"""SEP_pos, what it is put on, SEP_neg."""

ADJUSTED = {
    "excess_end": (1, "loss / chance at the end"),
    "relative_reduction": (-1, "share that the attack removes"),
    "cosine_end": (-1, "cosine to the target's map at the end"),
}
"""Metrics with the concentration of the maps taken out -> (the sign of a more robust explanation, words)."""


def _ordered(result: Result, metric: str, what: str, paper: str, sign: int, methods: Sequence[str]) -> Finding:
    """Whether `sign` times the metric rises from SEP_pos over the method without SEP to SEP_neg."""
    positive, base, negative = methods
    parts, verdicts = [], []
    for method, own_sign in ((positive, -sign), (negative, sign)):
        difference = paired_difference(result, method, base, metric)
        if difference is None:
            return unknown(what, paper, f"no comparison of {method} with {base}")
        shown = Interval(*(scale_of(metric) * value for value in difference))
        broken = is_degraded(result, (method, base)) or any(
            entry.get("degraded")
            for entry in result.get("statistics", {}).get("comparisons", ())
            if (entry["method"], entry["baseline"], entry["metric"]) == (method, base, metric)
        )
        parts.append(f"{method} − {base} {interval_text(shown)}{' (degraded)' if broken else ''}")
        verdicts.append(UNKNOWN if broken else verdict_of_interval(shown.low, shown.high, own_sign))
    return Finding(what, paper, ", ".join(parts), worst(verdicts), basis(result, methods))


def order_at_the_end(result: Result, *, methods: Sequence[str] = MAT, when: str = "end") -> Finding:
    """Claim: at the end of the attack the explanation loss is lower with SEP_pos and higher with SEP_neg than without.

    The intervals are of the paired differences over the pairs (`statistics` of result.json); a degraded model gives no
    evidence.
    """
    paper = " < ".join(methods)
    return _ordered(result, f"explanation_loss_{when}", f"explanation loss at the {when}", paper, 1, methods)


def order_without_concentration(metric: str, result: Result, *, methods: Sequence[str] = MAT) -> Finding:
    """What its reviewers ask: whether the order is there in a metric that more concentrated maps do not raise."""
    sign, words = ADJUSTED[metric]
    paper = f"reviewers: still {' < '.join(methods if sign > 0 else tuple(reversed(methods)))}?"
    return _ordered(result, metric, words, paper, sign, methods)


def order_of_effective_pixels(result: Result, *, methods: Sequence[str] = MAT) -> Finding:
    """Claim: maps of SEP_pos use more pixels than those without it, and maps of SEP_neg fewer (Figure 4)."""
    paper = " > ".join(methods)
    return _ordered(result, "effective_pixels", "effective pixels of the maps", paper, -1, methods)


def equal_accuracy(result: Result, *, which: str = "robust", methods: Sequence[str] = MAT) -> Finding:
    """Claim: SEP leaves the robust accuracy where it was, within POINTS; a degraded model gives no evidence.

    The half width is that of the difference of the two furthest methods: from FEWEST_SEEDS on Student's over the seeds,
    on the test images that all share; below, of two shares of that many images, taken as independent, which is wide.
    """
    what, paper = f"{which} accuracy", f"equal within {POINTS:g} points"
    key = f"{which}_accuracy"
    known = {
        name: [row[key] for row in rows_of(result, name) if as_number(row.get(key)) is not None] for name in methods
    }
    if not all(known.values()):
        return unknown(what, paper, f"not measured for all of {', '.join(methods)}")
    means = {name: 100 * mean(values) for name, values in known.items()}
    lowest, highest = min(means, key=lambda n: means[n]), max(means, key=lambda n: means[n])
    low, high = means[lowest], means[highest]
    half = _half_width(result, key, lowest, highest, low, high)
    ours = f"{high - low:.1f} points apart ({low:.1f} to {high:.1f} %)" + (f" ± {half:.1f}" if half is not None else "")
    verdict = _equal(high - low, half)
    if broken := [name for name in methods if is_degraded(result, (name,))]:
        ours, verdict = f"{ours} ({', '.join(broken)} degraded)", UNKNOWN
    return Finding(what, paper, ours, verdict, basis(result, methods))


def _numbers(result: Result, method: str, key: str) -> list[float]:
    """The values of every seed that has one."""
    return [value for row in rows_of(result, method) if (value := as_number(row.get(key))) is not None]


def _equal(distance: float, half: float | None) -> str:
    """Whether the whole interval is within POINTS, or beyond them; without an interval, the estimate."""
    half = half or 0.0
    return HOLDS if distance + half <= POINTS else FAILS if distance - half > POINTS else OPEN


def _half_width(result: Result, key: str, one: str, other: str, low: float, high: float) -> float | None:
    """Of the difference of two accuracies, in points; None where nothing tells it."""
    found = paired_difference({**result, "statistics": {}}, other, one, key)
    known = found is not None and not math.isnan(found.low)
    num_seeds = min(len(rows_of(result, name)) for name in (one, other))
    images = result.get("config", {}).get("test_images", 0) * num_seeds
    if images and not (known and num_seeds >= FEWEST_SEEDS):
        return 1.96 * math.sqrt((low * (100 - low) + high * (100 - high)) / images)
    return 100 * (found.high - found.estimate) if found is not None and known else None


def loss_of(method: str, when: str, paper_loss: float, result: Result) -> Finding:
    """A published explanation loss (x 1e-7) beside ours, which another recipe gives."""
    return _published(method, f"explanation_loss_{when}", f"loss at the {when}", paper_loss, result)


def accuracy_of(method: str, which: str, percent: float, result: Result) -> Finding:
    """A published accuracy in percent beside ours, which another recipe gives."""
    return _published(method, f"{which}_accuracy", f"{which} accuracy [%]", percent, result)


def _published(method: str, metric: str, words: str, number: float, result: Result) -> Finding:
    what, is_loss = f"{method}, {words}", metric.startswith("explanation_loss")
    values = _numbers(result, method, metric)
    if not values:
        return unknown(what, f"{number:g}", f"no {method}")
    scale = scale_of(metric) if is_loss else 100.0
    found = Interval(*(scale * value for value in t_interval(values)))
    change = f"{100 * (found.estimate / number - 1):+.0f} %" if is_loss else f"{found.estimate - number:+.1f} points"
    show = loss_text if is_loss else "{:.1f}".format
    degraded = ", degraded" if is_degraded(result, (method,)) else ""
    return Finding(
        what, f"{number:g}", f"{interval_text(found, show)} ({change}{degraded})", "", basis(result, (method,))
    )


def attack_works(method: str, result: Result) -> Finding:
    """Figure 1a in numbers: a small change of the image brings its map to the target's and keeps the prediction."""
    what, paper = f"attack on the maps of {method}", "map moves to the target's, prediction kept, change not visible"
    rows = rows_of(result, method)
    if not rows:
        return unknown(what, paper, f"no {method}")
    before, after = (
        of_pairs(rows, key) or _numbers(result, method, key)
        for key in ("explanation_loss_start", "explanation_loss_end")
    )
    if not before or len(before) != len(after):
        return unknown(what, paper, "no losses")
    change = t_interval([end - start for end, start in zip(after, before, strict=True)])
    shown = Interval(*(scale_of("explanation_loss") * value for value in change))
    scale = scale_of("explanation_loss")
    parts = [f"loss {loss_text(scale * mean(before))} → {loss_text(scale * mean(after))}, {interval_text(shown)}"]
    norm = result.get("config", {}).get("explanation_norm", "linf")
    words_of = {"label_kept": "prediction kept {:.1f} %", "perturbation_size": f"change {{:.2g}} in {norm}"}
    for key, words in words_of.items():
        if values := _numbers(result, method, key):
            parts.append(words.format(mean(values) * (100 if key == "label_kept" else 1)))
    budget = result.get("config", {}).get("explanation_epsilon")
    parts.append(f"inside {255 * budget:.3g}/255" if budget else "no budget")
    return Finding(
        what, paper, ", ".join(parts), verdict_of_interval(shown.low, shown.high, -1), basis(result, (method,))
    )


def rivals(result: Result) -> list[Finding]:
    """Reviewers: whether what makes maps more stable changes the robust accuracy; a finding for each rival of SEP.

    The verdict is on an accuracy that stays within POINTS, and only of a rival whose maps do move less under noise.
    """
    found = []
    for name in dict.fromkeys(row["method"] for row in result.get("rows", ())):
        if name.startswith("mat_"):
            found.append(_rival(name, result))
    return found or [unknown("rivals of SEP", "reviewers: robust accuracy unchanged?", "no rival")]


def _rival(name: str, result: Result) -> Finding:
    what, paper = f"{name}: more stable maps, and robust accuracy", "reviewers: robust accuracy unchanged?"
    tables = {
        key: [
            [row[key] for row in rows_of(result, method) if as_number(row.get(key)) is not None]
            for method in (name, "mat")
        ]
        for key in ("noise_sensitivity", "robust_accuracy")
    }
    excess = paired_difference(result, name, "mat", "excess_end")
    if not all(values for pair in tables.values() for values in pair):
        return unknown(what, paper, "no noise or robust accuracy of it and mat")
    noise, robust = ([100 * mean(values) for values in pair] for pair in tables.values())
    half = _half_width(result, "robust_accuracy", name, "mat", *sorted(robust))
    change = robust[0] - robust[1]
    ours = f"change under noise {noise[1]:.1f} → {noise[0]:.1f} %, robust accuracy {change:+.1f} points"
    ours += f" ± {half:.1f}" if half is not None else ""
    if excess is not None:
        ours += f", loss / chance at the end {interval_text(excess, '{:+.3f}'.format)}"
    verdict = _equal(abs(change), half) if noise[0] < noise[1] else ""
    if not verdict:
        ours += "; no more stable here"
    if is_degraded(result, (name, "mat")):
        ours, verdict = f"{ours} (degraded)", UNKNOWN
    return Finding(what, paper, ours, verdict, basis(result, (name, "mat")))


# A matrix of explanations: trained with one, tested with another.


def _cell(explanation: str, result: Result) -> Result:
    """As if a study: MAT and what was trained with an explanation, tested with it."""
    own = [row for row in result.get("rows", ()) if row["explained_by"] == explanation]
    of_term = [entry for entry in result.get("comparisons", ()) if entry["explained_by"] == explanation]
    entries = [entry for entry in of_term if entry["trained_with"] == explanation]
    pairs = max((entry["num_pairs"] for entry in entries), default=0)
    return {
        "rows": [row for row in own if row["method"] == "mat" or row["trained_with"] == explanation],
        "config": result.get("config", {}),
        "statistics": {"comparisons": entries},
        "pairs": {"victims": range(pairs)},
    }


def order_in_cell(explanation: str, metric: str, result: Result) -> Finding:
    """Claim: trained and tested with one explanation, SEP_pos ends below MAT and SEP_neg above (Table 3)."""
    own = _cell(explanation, result)
    found = order_at_the_end(own) if metric == "explanation_loss_end" else order_without_concentration(metric, own)
    return found._replace(what=f"{explanation}: {found.what}")


def equal_accuracy_in_cell(explanation: str, result: Result) -> Finding:
    """Claim: the robust accuracy is the same whatever is in the SEP term."""
    found = equal_accuracy(_cell(explanation, result))
    return found._replace(what=f"{explanation}: {found.what}")


def number_in_cell(explanation: str, method: str, metric: str, number: float, result: Result) -> Finding:
    """A published number of a model trained and tested with one explanation (loss x 1e-7, accuracy in percent)."""
    cell = [r for r in result.get("rows", ()) if (r["explained_by"], r["trained_with"]) == (explanation, explanation)]
    words = {"explanation_loss_start": "loss at the start", "clean_accuracy": "clean accuracy [%]"}[metric]
    found = _published(method, metric, words, number, {"rows": cell})
    return found._replace(what=f"{explanation}: {found.what}")


def pos_below_neg_in_every_method(result: Result) -> Finding:
    """Claim: whatever explanation is attacked, SEP_pos ends below SEP_neg (Figure 5)."""
    what, paper = "loss at the end, by the explanation attacked", "sep_pos < sep_neg with every method"
    ends: dict[tuple[str, str], list[float]] = {}
    for row in result["rows"]:
        if row.get("trained_with") == "gradient_x_input":
            ends.setdefault((row["explained_by"], row["method"]), []).append(row["explanation_loss_end"])
    explained = sorted({name for name, method in ends if method == "sep_pos" and (name, "sep_neg") in ends})
    if not explained:
        return unknown(what, paper, "no explanation measured for both")
    against = [name for name in explained if not mean(ends[name, "sep_pos"]) < mean(ends[name, "sep_neg"])]
    ours = f"with {len(explained) - len(against)} of {len(explained)}" + (
        f"; not {', '.join(against)}" if against else ""
    )
    verdict = FAILS if against else HOLDS
    own = [row for row in result["rows"] if row.get("trained_with") == "gradient_x_input"]
    if is_degraded({"rows": own}, ("sep_pos", "sep_neg")):
        ours, verdict = f"{ours} (degraded)", UNKNOWN
    return Finding(what, paper, ours, verdict, basis(result, ("sep_pos", "sep_neg")))

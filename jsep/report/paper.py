"""The paper's tables and figures beside this project's results: every number and claim, and whether it holds.

An item is one entry of `PAPER_ITEMS`; a judge is a function from a result.json to one `Finding`.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jsep.report.columns import LOSS_SCALE
from jsep.report.summary import as_number, mean_of, summarise

HOLDS, FAILS, OPEN, UNKNOWN = "holds", "does not hold", "not told apart", "cannot tell"
"""Verdicts on a claim: the data show it; they show the contrary; their interval contains both answers; the result
lacks what it takes. A number without a claim has the verdict ""."""

POINTS = 2.0
"""Robust accuracies that differ by at most so many points count as equal."""


class Finding(NamedTuple):
    """What the paper says and what a result says to it: what, paper, ours and basis in words; verdict."""

    what: str
    paper: str
    ours: str
    verdict: str
    basis: str


Result = Mapping[str, Any]
Judge = Callable[[Result], Finding]


class PaperItem(NamedTuple):
    """A table or figure. results: folders of results/ that measure it, the full recipe first; judges: what they are
    asked."""

    name: str
    results: tuple[str, ...]
    judges: tuple[Judge, ...]


def _unknown(what: str, paper: str, missing: str) -> Finding:
    return Finding(what, paper, missing, UNKNOWN, "")


def _basis(result: Result, methods: Sequence[str]) -> str:
    seeds = len({row.get("seed") for row in result["rows"] if row["method"] in methods})
    pairs, images = len(result.get("pairs", {}).get("victims", ())), result.get("num_images", 0)
    # A landscape is measured on the first images of a study's pairs.
    of = f", {images} images" if images else f", {pairs} pairs" if pairs else ""
    return f"{seeds} seed{'s' if seeds != 1 else ''}{of}"


def _verdict_of_interval(low: float, high: float, sign: int) -> str:
    """Of a difference that a claim says has this sign."""
    if sign < 0:
        low, high = -high, -low
    return HOLDS if low > 0 else FAILS if high < 0 else OPEN


def _loss(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _worst(verdicts: Sequence[str]) -> str:
    """A claim of several parts is as good as its worst part."""
    return next(verdict for verdict in (UNKNOWN, FAILS, OPEN, HOLDS) if verdict in verdicts)


def order_at_the_end(result: Result) -> Finding:
    """Claim: at the end of the attack the explanation loss is lower with SEP_pos and higher with SEP_neg than without.

    The intervals are of the paired differences to MAT over the pairs (`statistics` of result.json); a degraded model
    gives no evidence.
    """
    what, paper = "explanation loss at the end", "sep_pos < mat < sep_neg"
    found = {
        entry["method"]: entry
        for entry in result.get("statistics", {}).get("comparisons", ())
        if entry["metric"] == "explanation_loss_end" and entry["baseline"] == "mat"
    }
    parts, verdicts = [], []
    for method, sign in (("sep_pos", -1), ("sep_neg", 1)):
        entry = found.get(method)
        if entry is None or entry["low"] is None or entry["high"] is None:
            return _unknown(what, paper, f"no comparison of {method} with mat")
        difference, low, high = (LOSS_SCALE * entry[key] for key in ("difference", "low", "high"))
        degraded = " (degraded)" if entry.get("degraded") else ""
        shown = [f"{'+' if value > 0 else ''}{_loss(value)}" for value in (difference, low, high)]
        parts.append(f"{method} − mat {shown[0]} [{shown[1]}, {shown[2]}]{degraded}")
        verdicts.append(UNKNOWN if degraded else _verdict_of_interval(low, high, sign))
    return Finding(what, paper, ", ".join(parts), _worst(verdicts), _basis(result, ("mat", "sep_pos", "sep_neg")))


def equal_robust_accuracy(result: Result) -> Finding:
    """Claim: SEP leaves the robust accuracy where it was, within POINTS."""
    what, paper = "robust accuracy", f"equal within {POINTS:g} points"
    methods = ("mat", "sep_pos", "sep_neg")
    known = {s["method"]: mean_of(s, "robust_accuracy") for s in summarise(result["rows"]) if s["method"] in methods}
    values = [100 * value for value in known.values() if value is not None]
    if len(values) < len(methods):
        return _unknown(what, paper, "not measured for all three methods")
    low, high = min(values), max(values)
    ours = f"{high - low:.1f} points apart ({low:.1f} to {high:.1f} %)"
    # Of two shares of that many images, taken as independent, which on the same images is wide.
    images = result.get("config", {}).get("test_images", 0) * len({row.get("seed") for row in result["rows"]})
    error = math.sqrt((low * (100 - low) + high * (100 - high)) / images) if images else 0.0
    verdict = HOLDS if high - low <= POINTS else OPEN if high - low - 1.96 * error <= POINTS else FAILS
    if images:
        ours += f" ± {1.96 * error:.1f}"
    return Finding(what, paper, ours, verdict, _basis(result, methods))


def loss_of(method: str, when: str, paper_loss: float, result: Result) -> Finding:
    """A published explanation loss (x 1e-7) beside ours, which another recipe gives."""
    what = f"{method}, loss at the {when}"
    summary = next((s for s in summarise(result["rows"]) if s["method"] == method), None)
    ours = None if summary is None else mean_of(summary, f"explanation_loss_{when}")
    if ours is None:
        return _unknown(what, f"{paper_loss:g}", f"no {method}")
    ours *= LOSS_SCALE
    change = f"{_loss(ours)} ({100 * (ours / paper_loss - 1):+.0f} %)"
    return Finding(what, f"{paper_loss:g}", change, "", _basis(result, (method,)))


# Landscapes: a row's "numbers" holds mean and standard error over the images of every quantity.


def _quantity(result: Result, method: str, name: str) -> tuple[float, float, int] | None:
    """Mean, its standard error, and degrees of freedom: over the seeds, or over the images of one seed."""
    entries = [row["numbers"].get(name) for row in result["rows"] if row["method"] == method]
    known = [entry for entry in entries if entry and as_number(entry["mean"]) is not None]
    if not known or any(not math.isfinite(entry["mean"]) for entry in known):
        return None
    means = [entry["mean"] for entry in known]
    mean = math.fsum(means) / len(means)
    if len(means) == 1:
        return mean, known[0]["standard_error"], max(known[0]["num_finite"] - 1, 1)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in means) / (len(means) - 1))
    return mean, deviation / math.sqrt(len(means)), len(means) - 1


def _ratio(
    first: tuple[float, float, int] | None, second: tuple[float, float, int] | None
) -> tuple[float, float, float] | None:
    """second / first with a 95 % interval, by the delta method on logarithms and Welch's degrees of freedom."""
    import scipy.stats

    if first is None or second is None or first[0] <= 0 or second[0] <= 0:
        return None
    shares = [(error / mean) ** 2 for mean, error, _ in (first, second)]
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
        return _unknown(what, paper, "not measured for both")
    verdict = _verdict_of_interval(math.log(ratio[1]), math.log(ratio[2]), -1)
    return Finding(what, paper, _ratio_text(ratio), verdict, _basis(result, ("mat",)))


def _trades_methods(result: Result) -> list[str]:
    """The methods "trades <weight>" by rising weight."""
    names = {row["method"] for row in result["rows"] if row["method"].startswith("trades ")}
    return sorted(names, key=lambda name: float(name.split()[1]))


def same_landscape(quantity: str, words: str, result: Result) -> Finding:
    """Claim: the landscape of the explanation loss does not change with the weight of TRADES, 0 left out."""
    what, paper = f"{words}, largest TRADES weight to smallest above 0", "no visible difference"
    methods = [name for name in _trades_methods(result) if float(name.split()[1]) > 0]
    if len(methods) < 2:
        return _unknown(what, paper, "fewer than two weights")
    first, second = (_quantity(result, name, f"explanation_to_own/{quantity}") for name in (methods[0], methods[-1]))
    ratio = _ratio(first, second)
    if ratio is None:
        return _unknown(what, paper, "not measured for both")
    return Finding(
        what, paper, _ratio_text(ratio), HOLDS if ratio[1] <= 1 <= ratio[2] else FAILS, _basis(result, methods)
    )


def rise_together(result: Result) -> Finding:
    """Claim: with a larger weight of TRADES both robustnesses rise."""
    what, paper = "robust accuracy and loss at the end, by rising TRADES weight", "both rise"
    methods = _trades_methods(result)
    if len(methods) < 2:
        return _unknown(what, paper, "fewer than two weights")
    robust = [_mean([row["robust_accuracy"] for row in result["rows"] if row["method"] == name]) for name in methods]
    ends = [_quantity(result, name, "explanation_loss_end") for name in methods]
    if any(end is None for end in ends):
        return _unknown(what, paper, "no loss at the end")
    losses = [LOSS_SCALE * end[0] for end in ends if end is not None]
    rises = all(a < b for values in (robust, losses) for a, b in itertools.pairwise(values))
    ours = f"{' → '.join(f'{100 * value:.1f}' for value in robust)} %, {' → '.join(map(_loss, losses))}"
    return Finding(what, paper, ours, HOLDS if rises else FAILS, _basis(result, methods))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def pos_below_neg_in_every_method(result: Result) -> Finding:
    """Claim: whatever explanation is attacked, SEP_pos ends below SEP_neg."""
    what, paper = "loss at the end, by the explanation attacked", "sep_pos < sep_neg with every method"
    ends: dict[tuple[str, str], list[float]] = {}
    for row in result["rows"]:
        if row.get("trained_with") == "gradient_x_input":
            ends.setdefault((row["explained_by"], row["method"]), []).append(row["explanation_loss_end"])
    explained = sorted({name for name, method in ends if method == "sep_pos" and (name, "sep_neg") in ends})
    if not explained:
        return _unknown(what, paper, "no explanation measured for both")
    against = [name for name in explained if not _mean(ends[name, "sep_pos"]) < _mean(ends[name, "sep_neg"])]
    ours = f"with {len(explained) - len(against)} of {len(explained)}" + (
        f"; not {', '.join(against)}" if against else ""
    )
    return Finding(what, paper, ours, FAILS if against else HOLDS, _basis(result, ("sep_pos", "sep_neg")))


def between_clusters_above_within(result: Result) -> Finding:
    """Claim: explanations of different clusters differ more than those of one cluster."""
    what, paper = "loss between to within clusters", "above 1"
    ratios = [entry["ratio"] for entry in result.get("clusterings", ())]
    if not ratios:
        return _unknown(what, paper, "no clusterings")
    ours = f"{min(ratios):.2f} to {max(ratios):.2f}"
    basis = f"{len(ratios)} clusterings and models"
    return Finding(what, paper, ours, HOLDS if min(ratios) > 1 else FAILS, basis)


def order_does_not_depend_on_selection(result: Result) -> Finding:
    """What the comparison of selection ways is for: the same order of the models whatever pairs are drawn."""
    what, paper = "order of the models by the way pairs are selected", "three ways compared"
    entries = result.get("summary", {}).get("selections", ())
    if not entries:
        return _unknown(what, paper, "no selections")
    orders = {tuple(entry["order"]) for entry in entries}
    return Finding(
        what, paper, f"{len(orders)} orders from {len(entries)} ways", "", f"{entries[0]['num_draws']} draws each"
    )


def grows_as_the_weight_falls(result: Result) -> Finding:
    """Claim: the loss at the end grows as the SEP weight falls: its Spearman correlation with the weight is below 0."""
    what, paper = "rank correlation of SEP weight and loss at the end", "below 0"
    sides = {e["side"]: e for e in result.get("trends", ()) if e["metric"] == "scale_free_loss_end"}
    if "both" not in sides:
        return _unknown(what, paper, "no trend")
    parts = [
        f"{side} weights {entry['estimate']:+.2f} [{entry['low']:+.2f}, {entry['high']:+.2f}]"
        for side, entry in sides.items()
    ]
    entry = sides["both"]
    verdict = _verdict_of_interval(entry["low"], entry["high"], -1)
    return Finding(
        what, paper, ", ".join(parts), verdict, f"{entry['num_weights']} weights, {entry['num_models']} models"
    )


STRONG = 0.7
"""A rank correlation of this size or more counts as strong."""


def not_strongly_correlated(measure: str, words: str, result: Result) -> Finding:
    """Claim: over many models both robustnesses are not strongly correlated: the interval is inside of +-STRONG."""
    what, paper = f"rank correlation of robust accuracy and {words}", f"not strong (below {STRONG:g})"
    wanted = {"subset": "all models", "unit": "models", "with_degraded": False, "measure": measure}
    entry = next((e for e in result.get("correlations", ()) if all(e.get(k) == v for k, v in wanted.items())), None)
    if entry is None:
        return _unknown(what, paper, "not measured")
    found = entry["spearman"]
    low, high = found["low"], found["high"]
    verdict = HOLDS if low > -STRONG and high < STRONG else FAILS if low >= STRONG or high <= -STRONG else OPEN
    basis = f"{entry['num_models']} models of {entry['num_settings']} settings"
    return Finding(what, paper, f"{found['estimate']:+.2f} [{low:+.2f}, {high:+.2f}]", verdict, basis)


_SEP: tuple[Judge, ...] = (order_at_the_end, equal_robust_accuracy)

_FLATTER: tuple[Judge, ...] = tuple(
    functools.partial(flatter_by_training, "cross_entropy", quantity, words)
    for quantity, words in (
        ("worst_sharpness", "worst rise of the cross-entropy in the ball"),
        ("top_eigenvalue", "top eigenvalue of the cross-entropy"),
    )
)
_SELECTION: tuple[Judge, ...] = (between_clusters_above_within, order_does_not_depend_on_selection)


def _losses(*numbers: tuple[str, str, float]) -> tuple[Judge, ...]:
    return tuple(functools.partial(loss_of, method, when, value) for method, when, value in numbers)


PAPER_ITEMS: tuple[PaperItem, ...] = (
    PaperItem("Figure 1b: landscape of the classification loss", ("landscape", "landscape_quick"), _FLATTER),
    PaperItem("Figure 1b's question on digits", ("landscape_digits",), _FLATTER),
    PaperItem("Table 1: TRADES sweep", ("trades_landscape", "trades_landscape_quick"), (rise_together,)),
    PaperItem(
        "Figure 3: explanation-loss landscape of TRADES models",
        ("trades_landscape", "trades_landscape_quick"),
        tuple(
            functools.partial(same_landscape, quantity, words)
            for quantity, words in (
                ("worst_sharpness", "worst rise of the loss to the own map in the ball"),
                ("top_eigenvalue", "top eigenvalue of the loss to the own map"),
            )
        ),
    ),
    PaperItem(
        "Table 2: MNIST, ConvNet",
        ("mnist_sep", "mnist_sep_quick"),
        (*_SEP, *_losses(("mat", "start", 373.262), ("mat", "end", 298.729), ("sep_neg", "start", 806.204),
                         ("sep_neg", "end", 657.180))),
    ),
    PaperItem("Table 2: Fashion-MNIST, ConvNet", ("fashion_mnist_sep", "fashion_mnist_sep_quick"), _SEP),
    PaperItem(
        "Table 2: CIFAR-10, ConvNet",
        ("cifar10_sep_convnet", "cifar10_sep_quick"),
        (*_SEP, *_losses(("mat", "start", 16.9), ("sep_neg", "start", 19.0), ("sep_neg", "end", 7.590),
                         ("sep_pos", "end", 1.269))),
    ),
    PaperItem(
        "Table 2: CIFAR-10, ResNet-18",
        ("cifar10_sep",),
        (*_SEP, *_losses(("mat", "start", 31.959), ("mat", "end", 31.959 * (1 - 0.315)), ("sep_neg", "start", 70.159),
                         ("sep_neg", "end", 70.159 * (1 - 0.483)))),
    ),
    PaperItem("Table 2: CIFAR-100", ("cifar100_sep", "cifar100_sep_quick"), _SEP),
    PaperItem("Table 2: TinyImageNet", ("tiny_imagenet_sep", "tiny_imagenet_sep_quick"), _SEP),
    PaperItem("Table 2's question on digits", ("digits_sep",), _SEP),
    PaperItem(
        "Figure 5: tested with other explanations", ("cross_method", "cross_method_digits"),
        (pos_below_neg_in_every_method,),
    ),
    PaperItem(
        "Table 4: SEP weights, on digits", ("sep_weight_sweep", "sep_weight_sweep_digits"), (grows_as_the_weight_falls,)
    ),
    PaperItem(
        "The title's question, on digits", ("correlation", "correlation_digits"),
        tuple(
            functools.partial(not_strongly_correlated, measure, words)
            for measure, words in (
                ("scale_free_loss_end", "loss at the end"),
                ("excess_end", "loss / chance at the end"),
                ("relative_reduction", "share removed, sign turned"),
            )
        ),
    ),
    PaperItem("Appendix: clusters and selections", ("selection", "selection_quick"), _SELECTION),
    PaperItem("Appendix's question on digits: clusters and selections", ("selection_digits",), _SELECTION),
)  # fmt: skip
"""What the paper shows, each with the results that measure it and the judges of its numbers and claims."""


def paper_table(results: Mapping[str, Result]) -> str:
    """The comparison in Markdown: a row for each question of each item, and what has not been run.

    Args: results: the content of result.json by the name of its folder.
    """
    lines = [
        "| item | of | paper | ours | claim | basis | result |",
        "|---|---|---|---|---|---|---|",
    ]
    missing = []
    for item in PAPER_ITEMS:
        name = next((name for name in item.results if name in results), None)
        if name is None:
            missing.append(item.name)
            continue
        for judge in item.judges:
            found = judge(results[name])
            cells = (item.name, found.what, found.paper, found.ours, found.verdict, found.basis, f"[{name}](#{name})")
            lines.append(f"| {' | '.join(cell or '–' for cell in cells)} |")
    text = (
        "\n".join(lines)
        + "\n\nLosses × 1e-7; in brackets 95 % intervals. The recipes are small (see each result), so a "
        "published number is there for its size; the claims are what is tested. "
        f'"{OPEN}": the interval contains both signs.'
    )
    if missing:
        text += f"\n\nNot yet run: {'; '.join(missing)}."
    return text

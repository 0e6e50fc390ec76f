"""The correlation between robust accuracy and explanation robustness over many models: tables, figure, claim."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jsep.evaluate import METRICS
from jsep.record import Comparison, correlation_of, mean_matrix, not_strongly_correlated, readable
from jsep.record.many import STRONG
from jsep.report.charts import Key, Line, Panel, line_chart
from jsep.report.formatting import coefficient, minus
from jsep.report.paper import comparison_table
from jsep.report.shown import (
    COSINE_END,
    MANY_MODELS,
    OF_SETTING,
    ONE_MINUS_CONCORDANCE_END,
    REMOVED,
    ROBUST,
    SCALE_FREE_END,
    SCALE_FREE_START,
    SEP_WEIGHT,
)
from jsep.report.style import NamedFigure, colours, spans_decades
from jsep.report.table import Column, Table, make_table

_NAMES = {
    SCALE_FREE_END: "loss at the end (the paper's)",
    ONE_MINUS_CONCORDANCE_END: "1 − concordance at the end (concentration taken out)",
    REMOVED: "share of the loss removed",
    COSINE_END: "cosine to the target at the end",
    SCALE_FREE_START: "loss before any attack",
}
_COEFFICIENTS = {
    "pearson": "Pearson",
    "spearman": "Spearman",
    "partial_pearson": "partial Pearson",
    "partial_spearman": "partial Spearman",
    "partial_clean_spearman": "partial Spearman, clean accuracy alone",
}
# One colour for each family; families named like a method have the method's colour.
_COLOURS = {
    "mat": "#0072B2", "sep": "#009E73", "standard": "#555555", "trades": "#CC79A7", "trades_sep": "#882255",
    "lga": "#E6C700", "hessian": "#E69F00", "cure": "#56B4E9", "ig_norm": "#000000", "r2et": "#D55E00",
}  # fmt: skip
_SIGNS = {0: ("no SEP", "o"), 1: ("SEP weight > 0", "^"), -1: ("SEP weight < 0", "v")}


def correlation_figures(result: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[NamedFigure]:
    """Four measures of explanation robustness against robust accuracy, one mark for each model; up is more robust."""
    rows = result["rows"]
    families = list(dict.fromkeys(row["family"] for row in rows))
    colour = colours(families) | {family: own for family, own in _COLOURS.items() if family in families}
    signs = sorted({_sign(row) for row in rows}, key=list(_SIGNS).index)
    keys = [Key(readable(family), colour[family], "s") for family in families]
    keys += [Key(_SIGNS[sign][0], mark=_SIGNS[sign][1]) for sign in signs]
    keys += [Key("degraded: not counted", mark="o", hollow=True)] * any(row["degraded"] for row in rows)
    panels = [_panel(result, measure, colour) for measure in MANY_MODELS]
    figure = line_chart(panels, keys=keys, columns=2, height=3.45, width=10.0)
    names = ", ".join(_NAMES[measure] for measure in MANY_MODELS)
    alt = f"Four scatter plots of robust accuracy against {names} for {len(rows)} models."
    caption = (
        "Each mark is one model; up and right are more robust (where a lower number is more robust, the axis "
        "is turned). "
        "Above each panel Spearman's correlation ρ with its 95 % interval, and the partial one at equal clean "
        "accuracy and "
        "equal effective pixels of the maps."
    )
    return [NamedFigure("correlation", "Both robustnesses over many models", alt, caption, figure)]


def _sign(row: Mapping[str, Any]) -> int:
    return int(np.sign(row[SEP_WEIGHT]))


def _panel(result: Mapping[str, Any], measure: str, colour: Mapping[str, str]) -> Panel:
    shown, rows, better = METRICS[measure], result["rows"], result["measures"][measure]
    groups: dict[tuple[str, int, bool], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["family"], _sign(row), row["degraded"]), []).append(row)
    lines = [
        Line(
            [METRICS[ROBUST].scale * row[ROBUST] for row in own], [shown.scale * row[measure] for row in own],
            colour[family], _SIGNS[sign][1], "", hollow=degraded, size=5.5,
        )
        for (family, sign, degraded), own in groups.items()
    ]  # fmt: skip
    whole = [shown.scale * row[measure] for row in rows if not row["degraded"]]
    every = [shown.scale * row[measure] for row in rows]

    def adjust(axes: Axes) -> None:
        # On a linear axis a degraded model with ten times the loss would squeeze the others into a line.
        if measure == SCALE_FREE_END and spans_decades([max(whole), max(every)], 3.0):
            axes.set_yscale("log")
        if better < 0:
            axes.invert_yaxis()

    entry = correlation_of(result, measure) or {}
    found = f"ρ {_coefficient(entry.get('spearman'))}, partial {_coefficient(entry.get('partial_spearman'))}"
    title = f"{_NAMES[measure][:1].upper()}{_NAMES[measure][1:]}\n{found}"
    turned = "" if better > 0 else ", axis turned"
    return Panel(
        title, f"{METRICS[ROBUST].title}, more robust →", f"{shown.title}{turned}, more robust →", lines, adjust
    )


def _coefficient(value: Mapping[str, Any] | None) -> str:
    return coefficient(value["estimate"], value["low"], value["high"]) if value else ""


def correlation_tables(result: Mapping[str, Any]) -> list[Table]:
    """Tables: the coefficients over all models, the paper's claim, the coefficients over subsets, and the models."""
    main = {measure: correlation_of(result, measure) or {} for measure in result["measures"]}
    rows = [
        [
            _NAMES[measure] + ("" if sign > 0 else ", sign turned"),
            *(_coefficient(main[measure].get(key)) for key in _COEFFICIENTS),
        ]
        for measure, sign in result["measures"].items()
    ]
    degraded = sum(row["degraded"] for row in result["rows"])
    one = next(iter(main.values()))
    notes = (
        f"Correlation of robust accuracy with explanation robustness over the {one.get('num_models', 0)} models of "
        f"{one.get('num_settings', 0)} settings that are not degraded ({degraded} are), turned so that + "
        "means that they go together; 95 % bootstrap interval, settings drawn anew with their seeds: an interval that "
        "holds 0 leaves the sign open. Partial: at equal clean accuracy and equal effective pixels of the maps.",
    )
    tables = [
        make_table(["explanation robustness by", *_COEFFICIENTS.values()], rows, notes=notes),
        comparison_table(correlation_claims(result), "The paper's claim: not strongly correlated"),
        _parts(result),
        _settings(result),
    ]
    if result["left_out"]:
        tables.append(Table((), (), notes=(f"Left out: {'; '.join(result['left_out'])}.",)))
    return tables


def correlation_claims(result: Mapping[str, Any]) -> list[Comparison]:
    """The paper's claim that both robustnesses are not strongly correlated, for each measure."""
    return not_strongly_correlated({measure: _NAMES[measure] for measure in MANY_MODELS})(result)


def brief_claims(result: Mapping[str, Any]) -> list[Comparison]:
    """The claim in the words of a terminal, with the measures by their short names."""
    paper = f"robust accuracy and explanation robustness are not strongly correlated (below {STRONG:g})"
    return [
        dataclasses.replace(found, subject=_NAMES[measure].partition(" (")[0], paper=paper)
        for measure, found in zip(MANY_MODELS, correlation_claims(result), strict=True)
    ]


def brief_correlation(result: Mapping[str, Any]) -> Table:
    """Spearman's correlation and the partial one, for each measure."""
    shown = ("spearman", "partial_spearman")
    rows = []
    for measure, sign in result["measures"].items():
        entry = correlation_of(result, measure) or {}
        name = _NAMES[measure].partition(" (")[0] + ("" if sign > 0 else ", sign turned")
        rows.append([name, *(_coefficient(entry.get(key)) for key in shown)])
    one = correlation_of(result, next(iter(result["measures"]))) or {}
    note = f"Over {one.get('num_models', 0)} models of {one.get('num_settings', 0)} settings, with 95 % intervals."
    return make_table(["explanation robustness by", *(_COEFFICIENTS[key] for key in shown)], rows, notes=(note,))


def _parts(result: Mapping[str, Any]) -> Table:
    measures = list(result["measures"])
    rows = []
    for subset, unit, with_degraded in dict.fromkeys(
        (e["subset"], e["unit"], e["with_degraded"]) for e in result["correlations"]
    ):
        own = [correlation_of(result, m, subset=subset, unit=unit, with_degraded=with_degraded) or {} for m in measures]
        parts = subset.partition("without ")
        name = parts[0] + parts[1] + readable(parts[2]) + (", means of settings" if unit == "settings" else "")
        name += ", with the degraded ones" if with_degraded else ""
        count = str(own[0]["num_models"]) if unit == "models" else ""
        rows.append([name, count, str(own[0]["num_settings"]), *(_coefficient(entry.get("spearman")) for entry in own)])
    columns = ["Spearman over", Column("models"), Column("settings"), *(_NAMES[measure] for measure in measures)]
    note = "Signs as above: + is that robust accuracy and explanation robustness go together."
    return make_table(columns, rows, title="Parts of the models", notes=(note,))


def _settings(result: Mapping[str, Any]) -> Table:
    means = {}
    for name in OF_SETTING:
        settings, _, table = mean_matrix(result["rows"], ("setting",), None, name)
        means[name] = {setting: float(mean) for (setting,), mean in zip(settings, table[:, 0], strict=True)}
    rows = []
    for setting in means[ROBUST]:
        own = [row for row in result["rows"] if row["setting"] == setting]
        count = sum(row["degraded"] for row in own)
        cells = []
        for name in OF_SETTING:
            decimals = 2 if METRICS[name].decimals is None else METRICS[name].decimals
            cells.append(minus(f"{METRICS[name].scale * means[name][setting]:.{decimals}f}"))
        rows.append([readable(setting) + (f" * ({count} of {len(own)})" if count else ""), str(len(own)), *cells])
    columns = ["training", Column("seeds"), *(Column(METRICS[n].heading, METRICS[n].unit) for n in OF_SETTING)]
    note = "Means over the seeds. * degraded: clean accuracy more than 5 points below that of MAT; not counted above."
    return make_table(columns, rows, title="The models", notes=(note,))

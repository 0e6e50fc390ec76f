"""Trained with one explanation method, attacked and measured with every other: a table and a matrix."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jsep.evaluate import LOSS_UNIT, METRICS, Metric
from jsep.record import (
    Comparison,
    explanation_name,
    mean_matrix,
    pixels_of_maps,
    readable,
    sharpened_above_flattened,
)
from jsep.report.charts import Matrix, matrix_chart
from jsep.report.formatting import DEGRADED_MARK, metric_number, minus
from jsep.report.paper import comparison_text
from jsep.report.shown import LOSS_END, OF_MATRIX, ONE_MINUS_CONCORDANCE_END
from jsep.report.style import NamedFigure
from jsep.report.table import Table, make_table


def _means(result: Mapping[str, Any], metric: str) -> tuple[list[tuple[str, str]], list[str], np.ndarray]:
    """Models (trained with, method), explanation methods, and (models, methods) means over the seeds."""
    return mean_matrix(result["rows"], ("trained_with", "method"), "explained_by", metric)


def _names(result: Mapping[str, Any], models: Sequence[tuple[str, str]]) -> list[str]:
    """Names of models, with the training explanation for SEP methods alone; a star marks those degraded in any seed."""
    degraded = {(row["trained_with"], row["method"]) for row in result["rows"] if row.get("degraded")}
    names = [
        f"{readable(method)} ({explanation_name(trained_with)})" if "sep" in method else readable(method)
        for trained_with, method in models
    ]
    return [name + (DEGRADED_MARK if model in degraded else "") for name, model in zip(names, models, strict=True)]


def cross_method_figures(result: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[NamedFigure]:
    """Matrices of the loss at the end and of 1 − concordance: models by explanation methods."""
    models, methods, end = _means(result, LOSS_END)
    apart = _means(result, ONE_MINUS_CONCORDANCE_END)[2]
    names = _names(result, models)
    loss = METRICS[LOSS_END].of_maps(pixels_of_maps(result))
    matrices = [
        Matrix(loss.title, end / np.nanmax(end, axis=0), _texts(end, loss), 0.0),
        Matrix(
            METRICS[ONE_MINUS_CONCORDANCE_END].title,
            apart,
            _texts(apart, METRICS[ONE_MINUS_CONCORDANCE_END]),
            float(np.nanmin(apart)) - 0.05,
        ),
    ]
    # Framed cells, the reference for the others: trained and tested with the same explanation.
    boxed = [
        (place, methods.index(trained_with))
        for place, (trained_with, method) in enumerate(models)
        if "sep" in method and trained_with in methods
    ]
    starred = any(name.endswith("*") for name in names)
    footnote = "; ".join(["boxed: the explanation of the SEP term"] + ["* degraded model"] * starred)
    titles = [explanation_name(method) for method in methods]
    figure = matrix_chart(matrices, names, titles, boxed=boxed, footnote=footnote)
    heading = "Trained with one explanation, tested with others"
    alt = f"Two matrices of {'; '.join(names)} by {', '.join(titles)}; the numbers are those of the table."
    caption = (
        "Mean over the seeds. Left: the explanation loss that the attack on the explanation of the column leaves, "
        "shaded by its share of the largest in the column; right: 1 − concordance of the two maps at the end."
    )
    return [NamedFigure("cross", heading, alt, caption, figure)]


def _texts(values: np.ndarray, metric: Metric) -> list[list[str]]:
    return [[metric_number(float(value), metric) for value in row] for row in values]


def cross_method_tables(result: Mapping[str, Any]) -> list[Table]:
    """Explanation methods in rows, models in columns; then the paper's claim for each training explanation."""
    found = [_means(result, metric) for metric in OF_MATRIX]
    models, methods, _ = found[0]
    shown = [METRICS[name].of_maps(pixels_of_maps(result)) for name in OF_MATRIX]
    rows = []
    for column, method in enumerate(methods):
        cells = []
        for row in range(len(models)):
            values = [float(means[row, column]) for *_, means in found]
            start, end, removed, apart = (metric_number(v, m) for v, m in zip(values, shown, strict=True))
            del removed
            cells.append(f"{start} → {end} ({minus(f'{-100 * values[2]:+.0f} %')}, {apart})")
        rows.append([explanation_name(method), *cells])
    names = _names(result, models)
    notes = [
        f"Explanation loss [{LOSS_UNIT}] at start → end of the attack on that very method (its change, 1 − concordance "
        "at the end), means over the seeds; in brackets of a name the method in its SEP term."
    ]
    if any(name.endswith("*") for name in names):
        notes.append("* degraded: clean accuracy more than 5 points below MAT's; left out of the findings below.")
    for each in cross_method_claims(result):
        text = f"{each.verdict} ({comparison_text(each)}; {each.basis})"
        notes.append(f"Trained with {explanation_name(each.subject)}, {each.paper}: {text}.")
    return [make_table(["explained by", *names], rows, notes=notes)]


def cross_method_claims(result: Mapping[str, Any]) -> list[Comparison]:
    """The paper's order with every explanation attacked, for each explanation in the SEP term."""
    return [
        dataclasses.replace(each, subject=trained_with)
        for trained_with in dict(_means(result, LOSS_END)[0])
        for each in sharpened_above_flattened(result, trained_with)
        if each.findings
    ]


def brief_cross_method(result: Mapping[str, Any]) -> Table:
    """One row for each model: the loss that the attack on each explanation leaves."""
    models, methods, end = _means(result, LOSS_END)
    metric = METRICS[LOSS_END].of_maps(pixels_of_maps(result))
    rows = [[name, *texts] for name, texts in zip(_names(result, models), _texts(end, metric), strict=True)]
    note = f"{metric.title} [{metric.unit}] of the attack on the explanation of the column, mean over the seeds."
    return make_table(["model", *map(explanation_name, methods)], rows, notes=(note,))

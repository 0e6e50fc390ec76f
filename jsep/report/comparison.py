"""One self-contained page that compares several runs on the same data."""

import dataclasses
import os
import pathlib
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from jsep.checks import InputError
from jsep.evaluate import METRICS
from jsep.record import (
    UNBOUNDED,
    Result,
    attacks_of,
    pixels_of_maps,
    readable,
    same_prediction_attack,
    settings_of,
    shared_attack,
    summarise,
)
from jsep.record.run_files import Run, kind_of, read, read_arrays, read_json
from jsep.record.same_attack import OWN
from jsep.report.findings import short_answer
from jsep.report.formatting import MISSING, listing, signed, unit_of_difference
from jsep.report.landscape import curvature_table, model_table, scalars_of
from jsep.report.landscape_figures import has_plane, plane_figure, slices_figure
from jsep.report.page import mapping, provenance_line
from jsep.report.rendering import render, replace_file, shown
from jsep.report.shown import DIFFERENCES, REMOVED, ROBUST, SCALE_FREE_END
from jsep.report.study_figures import mean_of, overview, overview_words, training_curves
from jsep.report.study_tables import metric_tables
from jsep.report.style import WIDTH_INCHES, NamedFigure, colours
from jsep.report.table import Cell, Column, Table, make_table, text_column, with_run_names

_KINDS = ("study", "landscape")

GENERATED = '<meta name="generator" content="jsep">'
"""The tag that marks a page as written by jsep."""

_ATTACKED = (SCALE_FREE_END, REMOVED)
"""The metrics among the differences that depend on the attack on explanations."""

_CAPTION = (
    "Hollow: before the attack (clean accuracy); filled: after it (robust accuracy); bars: one standard deviation over "
    "the seeds; ticks below: the single seeds. A map on fewer effective pixels has a higher loss against any target."
)


_EACH_OWN = " Each run is shown under its own attack on explanations."


def write_comparison(run_dirs: Sequence[str | pathlib.Path], out: str | pathlib.Path) -> pathlib.Path:
    """Writes a self-contained page that compares runs; it needs no network.

    Args:
        run_dirs: two or more run directories, all of studies or all of landscape analyses, on the same data set.
        out: the HTML file to write; an existing page written by this package is replaced.

    Returns:
        Its path.

    Raises:
        InputError: fewer than two runs, the same one twice, one that cannot be read or is of another kind, different
            data sets, or `out` is a file of another kind or cannot be written.
    """
    kinds = {str(run_dir): kind_of(read_json(run_dir)) for run_dir in run_dirs}
    for run_dir, kind in kinds.items():
        if kind not in _KINDS:
            raise InputError(f"{run_dir} holds a result of kind {kind!r}; only those of {' or '.join(_KINDS)} compare")
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"a {kind} in {run_dir}" for run_dir, kind in kinds.items())
        raise InputError(f"expected runs of one kind, got {listed}; compare those of one at a time")
    of_landscapes = "landscape" in kinds.values()
    runs = [
        Run(pathlib.Path(run_dir), read_json(run_dir), (), None, ()) if of_landscapes else read(run_dir)
        for run_dir in run_dirs
    ]
    labels = _labels(runs)
    path = pathlib.Path(out)
    if path.is_dir() or (path.exists() and GENERATED not in path.read_text(encoding="utf-8", errors="replace")[:2000]):
        raise InputError(f"{path} exists and is no page of jsep; choose another out")
    own = _landscapes(runs, labels) if of_landscapes else _studies(runs, labels)
    page = _page(runs, labels, path, own)
    try:
        replace_file(path, page.encode())
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); choose another out") from error
    return path


def _labels(runs: Sequence[Run]) -> list[str]:
    """The shortest path endings that tell the runs apart. Raises: InputError for runs that cannot be compared."""
    if len(runs) < 2:
        raise InputError(f"expected two or more runs to compare, got {len(runs)}")
    places = [run.directory.resolve() for run in runs]
    for index, place in enumerate(places):
        if place in places[:index]:
            raise InputError(f"expected different runs, got {str(runs[index].directory)!r} twice")
    sets = {str(run.directory): _dataset(run) for run in runs}
    if len(set(sets.values())) > 1:
        listed = ", ".join(f"{name} in {directory}" for directory, name in sets.items())
        raise InputError(f"expected runs on one data set, got {listed}; compare those of one at a time")
    depth = 1
    while len({place.parts[-depth:] for place in places}) < len(places):
        depth += 1
    return ["/".join(place.parts[-depth:]) for place in places]


def _dataset(run: Run) -> str:
    parts = (mapping(run.result, part) for part in ("pairs", "config", "study"))
    return next((str(part["dataset"]) for part in parts if part.get("dataset")), "unknown data")


def _page(runs: Sequence[Run], labels: Sequence[str], out: pathlib.Path, own: Mapping[str, Any]) -> str:
    configs = [mapping(run.result, "config") for run in runs]
    keys = list(dict.fromkeys(key for config in configs for key in config))
    differ = [key for key in keys if any(config.get(key) != configs[0].get(key) for config in configs[1:])]
    attacks = ["attack on explanations", *(_attack_words(run.result) for run in runs)]
    alike = len(set(attacks[1:])) == 1
    return render(
        "comparison.html",
        **own,
        title=", ".join(labels) if len(labels) <= 3 else f"{len(labels)} runs",
        about=f"{_dataset(runs[0])}; {len(runs)} runs, {sum(len(run.result['rows']) for run in runs)} models",
        runs=_runs_table(runs, labels, out),
        differing=_settings_table("Settings that differ", differ, configs, labels, [] if alike else [attacks]),
        equal=_settings_table(
            "Settings that are equal",
            [key for key in keys if key not in differ],
            configs,
            labels,
            [attacks] if alike else [],
        ),
        commands={
            label: mapping(run.result, "environment").get("command") for run, label in zip(runs, labels, strict=True)
        },
    )


def _studies(runs: Sequence[Run], labels: Sequence[str]) -> dict[str, Any]:
    summaries = [summarise(run.result["rows"]) for run in runs]
    methods = list(dict.fromkeys(summary["method"] for own in summaries for summary in own))
    colour = colours(methods)
    named, rows, colour_of = [], [], {}
    # Ordered by method, so that rows to be compared are next to each other.
    for method in methods:
        for run, label, own in zip(runs, labels, summaries, strict=True):
            name = f"{readable(method)}, {label}"
            colour_of[name] = colour[method]
            named += [{**summary, "method": name} for summary in own if summary["method"] == method]
            rows += [{**row, "method": name} for row in run.result["rows"] if row["method"] == method]
    pixels = pixels_of_maps(runs[0].result)  # the same of all: they are on one data set
    alt = f"Dot chart of {overview_words(named, pixels)}."
    drawn = overview(named, rows, pixels, colour_of, width=WIDTH_INCHES)
    training = []
    for place, (run, label) in enumerate(zip(runs, labels, strict=True)):
        figure = training_curves(run.metrics, methods)
        if figure is not None:
            words_of = f"Curves of training of {label} against the epoch."
            training.append(NamedFigure(f"training-{place}", label, words_of, "Thick: mean over the seeds.", figure))
    return {
        "kind": "Comparison of runs",
        "lede": "What the runs found, side by side, and the settings in which they differ.",
        "sections": _sections("At one look", bool(training)),
        "figures": [NamedFigure("overview", "At one look", alt, _CAPTION + ("" if _alike(runs) else _EACH_OWN), drawn)],
        "metrics": _metric_tables(runs, labels),
        "differences": _difference_table(runs, labels),
        "tables": [],
        "training": training,
    }


def _sections(look: str, has_training: bool) -> dict[str, str]:
    names = {"runs": "Runs", "look": look, "numbers": "Numbers", "settings": "Settings"}
    return names | ({"training": "Training"} if has_training else {}) | {"reproduce": "Reproduce"}


def _metric_tables(runs: Sequence[Run], labels: Sequence[str]) -> list[Table]:
    """Each group of metrics as one table, with the runs that have it."""
    groups: dict[str, dict[str, Table]] = {}
    for run, label in zip(runs, labels, strict=True):
        for table in metric_tables(run.result):
            groups.setdefault(table.title, {})[label] = table
    return [with_run_names(list(own.values()), list(own)) for own in groups.values()]


def _difference_table(runs: Sequence[Run], labels: Sequence[str]) -> Table | None:
    """The means of every run less those of the first, for the methods of both; None where they share none.

    What an attack leaves is compared under the same attack, and left out where there is none.
    """
    contents, notes = [run.result for run in runs], []
    attack, same_accuracy = shared_attack(contents), same_prediction_attack(contents)
    left_out = {name for name in _ATTACKED if attack is None} | {name for name in (ROBUST,) if not same_accuracy}
    kept = [name for name in DIFFERENCES if name not in left_out]
    summaries = [_summaries_under(content, attack) for content in contents]
    first = {summary["method"]: summary for summary in summaries[0]}
    rows = []
    for method in first:
        for label, own in zip(labels[1:], summaries[1:], strict=True):
            for summary in (each for each in own if each["method"] == method):
                pairs = [(mean_of(summary, name), mean_of(first[method], name)) for name in kept]
                cells = [
                    MISSING if one is None or other is None else signed(one - other, METRICS[name])
                    for name, (one, other) in zip(kept, pairs, strict=True)
                ]
                rows.append([readable(method), label, *cells])
    if not rows:
        return None
    if attack is None:
        headings = listing([METRICS[name].heading for name in _ATTACKED])
        notes.append(f"Without {headings}: the runs share no attack on explanations with the same settings and pairs.")
    elif not _alike(runs):
        notes.append(f"What the attack leaves is that of the attack {attack!r}, which all runs share.")
    if not same_accuracy:
        notes.append(f"Without {METRICS[ROBUST].heading}: predictions were attacked with other settings or images.")
    notes.append("Differences of means; a claim about them needs the seeds and pairs of one study.")
    heads = [Column(METRICS[name].heading, unit_of_difference(METRICS[name])) for name in kept]
    title = f"Less {labels[0]}"
    return make_table([text_column("method"), text_column("run"), *heads], rows, num_names=2, title=title, notes=notes)


def _summaries_under(content: Mapping[str, Any], attack: str | None) -> list[dict[str, Any]]:
    """The means of each method under one of the attacks on explanations, or as they are."""
    typed = Result.from_dict(content)
    if attack in typed.other_attacks:
        typed = typed.under(str(attack))
    return summarise([{**row.as_dict(), **row.metrics} for row in typed.rows])


def _landscapes(runs: Sequence[Run], labels: Sequence[str]) -> dict[str, Any]:
    """Ordered by function, so that the same figure of all runs appears in a column."""
    arrays = []
    for run in runs:
        own, remarks = read_arrays(run.directory)
        if not own:
            raise InputError(
                f"{run.directory} holds no landscape analysis that can be read ({' '.join(remarks) or 'no maps.npz'})"
            )
        arrays.append(own)
    figures = []
    for scalar in dict.fromkeys(scalar for run in runs for scalar in scalars_of(run.result)):
        for draw in (slices_figure, *([plane_figure] if has_plane(scalar) else [])):
            for place, (run, own, label) in enumerate(zip(runs, arrays, labels, strict=True)):
                if scalar in scalars_of(run.result):
                    found = draw(run.result, own, scalar, label)
                    figures.append(dataclasses.replace(found, name=f"{found.name}-{place}"))
    tables = [with_run_names([table(run.result) for run in runs], labels) for table in (model_table, curvature_table)]
    note = "± is the standard deviation over the seeds of a run, with one seed the standard error over its images."
    return {
        "kind": "Comparison of landscapes",
        "lede": "The landscapes of the runs, side by side, and the settings in which they differ.",
        "sections": _sections("Slices and planes", False),
        "figures": figures,
        "metrics": [],
        "differences": None,
        "tables": [tables[0], dataclasses.replace(tables[1], notes=(note,))],
        "training": [],
    }


def _link(run: Run, out: pathlib.Path) -> str:
    page = run.directory / "index.html"
    if not page.is_file():
        return ""
    # Windows has no relative path between two drives.
    try:
        return urllib.parse.quote(pathlib.Path(os.path.relpath(page, out.parent)).as_posix())
    except ValueError:
        return ""


def _found(run: Run) -> str:
    return short_answer(run.result) + ("" if run.result.get("complete", True) else " This run is not complete.")


def _runs_table(runs: Sequence[Run], labels: Sequence[str], out: pathlib.Path) -> Table:
    rows = [
        [
            Cell(label, link=_link(run, out)),
            shown(run.result.get("experiment")),
            _found(run),
            provenance_line(mapping(run.result, "environment")),
        ]
        for run, label in zip(runs, labels, strict=True)
    ]
    heads = ("run", "experiment", "what it found", "where it comes from")
    return make_table(map(text_column, heads), rows, notes=(_on_attacks(runs, labels),), title="The runs")


def _alike(runs: Sequence[Run]) -> bool:
    """Whether the numbers of all runs are of one attack on explanations, with the same settings on the same pairs."""
    contents = [run.result for run in runs]
    return {attacks_of(each)[0] for each in contents} == {shared_attack(contents)}


def _on_attacks(runs: Sequence[Run], labels: Sequence[str]) -> str:
    """How far the losses of the runs compare: by their pairs of images and their attacks on explanations."""
    hashes = {mapping(run.result, "pairs").get("hash") for run in runs}
    if len(hashes) > 1 or None in hashes:
        return "The runs were tested on different pairs of images: a part of their differences is that of the pairs."
    pairs = "All runs were tested on the same pairs of images"
    if _alike(runs):
        return f"{pairs} by the same attack on explanations, so their losses compare pair by pair."
    listed = "; ".join(f"{label}: {_attack_words(run.result)}" for run, label in zip(runs, labels, strict=True))
    shared = shared_attack([run.result for run in runs])
    rest = (
        "so their losses at the end do not compare"
        if shared is None
        else f"so their losses at the end compare under the attack {shared!r} alone, as in the table of differences"
    )
    return f"{pairs}, but explanations were attacked in different ways ({listed}), {rest}."


def _attack_words(content: Mapping[str, Any]) -> str:
    """The attack that the numbers of a result are of: its strength, and the settings of the study's own."""
    settings, (name, *_) = settings_of(content), attacks_of(content)
    steps, size = settings.get("explanation_num_steps"), settings.get("explanation_epsilon")
    norm = settings.get("explanation_norm")
    ball = "" if "explanation_epsilon" not in settings else f"within {size:g} {norm}" if size else "without a ball"
    if name not in (OWN, UNBOUNDED):
        return ", ".join(filter(None, [name, ball]))
    kind = str(settings.get("explanation_attack_kind", "")) or "not recorded"
    return ", ".join(filter(None, [kind, f"{steps} steps" if steps else "", ball]))


def _settings_table(
    title: str,
    keys: Sequence[str],
    configs: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
    first: Sequence[Sequence[str]],
) -> Table:
    rows = [*first, *([key, *(shown(config.get(key)) for config in configs)] for key in keys)]
    return make_table([text_column("setting"), *map(text_column, labels)], rows, title=title)

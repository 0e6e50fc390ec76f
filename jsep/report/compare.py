"""One self-contained page that compares several runs on the same data."""

import os
import pathlib
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from jsep.checks import InputError
from jsep.record import summarise
from jsep.report.charts import overview_panels, training_panels
from jsep.report.columns import DEGRADED
from jsep.report.findings import answer
from jsep.report.landscape_compare import FILES as LANDSCAPE_FILES
from jsep.report.landscape_compare import Analysis, landscape_sections
from jsep.report.landscape_page import read_landscape
from jsep.report.numbers import Row, intervals_of, number_tables
from jsep.report.page import FILES, provenance_line
from jsep.report.parts import assemble, command_box, replace_file, scrolling, text
from jsep.report.records import Run, kind_of, read, read_json
from jsep.report.style import colours, marks

_KINDS = ("study", "landscape")

GENERATED = '<meta name="generator" content="jsep">'
"""What a page of this package says of itself."""

_CAPTION = (
    "Hollow: before the attack (clean accuracy); filled: after it (robust accuracy); bars: one standard deviation over "
    "the seeds; ticks below: the single seeds. A map on fewer effective pixels has a higher loss against any target."
)


def write_comparison(run_dirs: Sequence[str | pathlib.Path], out: str | pathlib.Path) -> pathlib.Path:
    """Writes the page that compares runs, which needs no network.

    Args:
        run_dirs: two or more run directories, all of studies or all of landscape analyses, on the same data set.
        out: the HTML file to write; a page of this package that is there already is replaced.

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
    analyses = [read_landscape(pathlib.Path(run_dir)) for run_dir in run_dirs] if of_landscapes else []
    runs = (
        [Run(pathlib.Path(d), result, (), None, ()) for d, (result, _) in zip(run_dirs, analyses, strict=True)]
        if of_landscapes
        else [read(run_dir) for run_dir in run_dirs]
    )
    labels = _check(runs)
    path = pathlib.Path(out)
    if path.is_dir() or (path.exists() and GENERATED not in path.read_text(encoding="utf-8", errors="replace")[:2000]):
        raise InputError(f"{path} exists and is no page of jsep; choose another out")
    page = _landscape_page(runs, analyses, labels, path) if of_landscapes else _page(runs, labels, path)
    try:
        replace_file(path, page.encode())
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); choose another out") from error
    return path


def _check(runs: Sequence[Run]) -> list[str]:
    """The shortest ends of the runs' paths that tell them apart."""
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
    for part in ("pairs", "config", "study"):
        known = run.result.get(part)
        if isinstance(known, Mapping) and known.get("dataset"):
            return str(known["dataset"])
    return "unknown data"


def _mapping(run: Run, key: str) -> Mapping[str, Any]:
    value = run.result.get(key)
    return value if isinstance(value, Mapping) else {}


def _page(runs: Sequence[Run], labels: Sequence[str], out: pathlib.Path) -> str:
    summaries = [summarise(run.result["rows"]) for run in runs]
    methods = list(dict.fromkeys(summary["method"] for own in summaries for summary in own))
    sections = {
        "runs": ("Runs", _runs_section(runs, labels, out)),
        "look": ("At one look", _look_section(runs, labels, summaries, methods)),
        "numbers": ("Numbers", _numbers_section(runs, labels, summaries, methods)),
        "settings": ("Settings", _settings_section(runs, labels)),
        "training": ("Training", _training_section(runs, labels, methods)),
        "reproduce": ("Reproduce", _reproduce_section(runs, labels)),
    }
    return assemble(
        kind="Comparison of runs",
        title=", ".join(labels) if len(labels) <= 3 else f"{len(labels)} runs",
        lede="What the runs found, side by side, and the settings in which they differ.",
        run=f"{_dataset(runs[0])}; {len(runs)} runs, {sum(len(own) for own in summaries)} rows, "
        f"{sum(len(run.result['rows']) for run in runs)} trained models",
        sections={key: name for key, (name, content) in sections.items() if content},
        main="\n".join(content for _, content in sections.values()),
        files=FILES,
    )


def _landscape_page(runs: Sequence[Run], analyses: Sequence[Analysis], labels: Sequence[str], out: pathlib.Path) -> str:
    own = landscape_sections(analyses, labels)
    sections = {
        "runs": ("Runs", _runs_section(runs, labels, out)),
        **own,
        "settings": ("Settings", _settings_section(runs, labels)),
        "reproduce": ("Reproduce", _reproduce_section(runs, labels)),
    }
    return assemble(
        kind="Comparison of landscapes",
        title=", ".join(labels) if len(labels) <= 3 else f"{len(labels)} runs",
        lede="The landscapes of the runs, side by side, and the settings in which they differ.",
        run=f"{_dataset(runs[0])}; {len(runs)} runs, {sum(len(run.result['rows']) for run in runs)} models",
        sections={key: name for key, (name, _) in sections.items()},
        main="\n".join(content for _, content in sections.values()),
        files=LANDSCAPE_FILES,
    )


def _link(run: Run, label: str, out: pathlib.Path) -> str:
    page = run.directory / "index.html"
    if not page.is_file():
        return text(label)
    # Windows has no relative path between two drives.
    try:
        address = urllib.parse.quote(pathlib.Path(os.path.relpath(page, out.parent)).as_posix())
    except ValueError:
        return text(label)
    return f'<a href="{address}">{text(label)}</a>'


def _found(run: Run) -> str:
    if kind_of(run.result) == "landscape":
        return f"{len(run.result['rows'])} models at {run.result['num_images']} images"
    return answer(run.result).headline


def _runs_section(runs: Sequence[Run], labels: Sequence[str], out: pathlib.Path) -> str:
    body = ""
    for run, label in zip(runs, labels, strict=True):
        found = _found(run)
        complete = "" if run.result.get("complete", True) else " This run is not complete."
        body += (
            f'<tr><th scope="row">{_link(run, label, out)}</th>'
            f'<td class="text">{text(run.result.get("experiment"))}</td>'
            f'<td class="text wrap">{text(found + complete)}</td>'
            f'<td class="text wrap">{provenance_line(_mapping(run, "environment"))}</td></tr>\n'
        )
    hashes = {_mapping(run, "pairs").get("hash") for run in runs}
    same = (
        "All runs were tested on the same pairs of images, so their losses compare pair by pair."
        if len(hashes) == 1 and None not in hashes
        else "The runs were tested on different pairs of images: a part of their differences is that of the pairs."
    )
    names = (
        "run",
        "experiment",
        "what it found" if kind_of(runs[0].result) == "study" else "what was measured",
        "where it comes from",
    )
    head = "".join(f'<th scope="col" class="text">{name}</th>' for name in names)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"
    return f'<section id="runs"><h2>The runs</h2>{scrolling("The runs", table)}<p class="note">{same}</p></section>'


def _look_section(
    runs: Sequence[Run],
    labels: Sequence[str],
    summaries: Sequence[Sequence[Mapping[str, Any]]],
    methods: Sequence[str],
) -> str:
    colour = colours(methods)
    named, rows, colour_of = [], [], {}
    # Method by method: what is to be compared stands together.
    for method in methods:
        for run, label, own in zip(runs, labels, summaries, strict=True):
            name = f"{method}, {label}"
            colour_of[name] = colour[method]
            named += [{**summary, "method": name} for summary in own if summary["method"] == method]
            rows += [{**row, "method": name} for row in run.result["rows"] if row["method"] == method]
    panels = overview_panels(named, rows, colour_of=colour_of)
    return f"""<section id="look"><h2>At one look</h2>
<figure>{panels}<figcaption>{text(_CAPTION)}</figcaption></figure></section>"""


def _numbers_section(
    runs: Sequence[Run],
    labels: Sequence[str],
    summaries: Sequence[Sequence[Mapping[str, Any]]],
    methods: Sequence[str],
) -> str:
    colour, mark = colours(methods), marks(methods)
    rows = [
        Row((label, s["method"]), colour[s["method"]], mark[s["method"]], s, intervals_of(run.result, s["method"]))
        for run, label, own in zip(runs, labels, summaries, strict=True)
        for s in own
    ]
    tables = number_tables(("run", "method"), rows, DEGRADED)
    return f'<section id="numbers"><h2>The numbers</h2>{tables}</section>'


def _settings_section(runs: Sequence[Run], labels: Sequence[str]) -> str:
    configs = [_mapping(run, "config") for run in runs]
    keys = list(dict.fromkeys(key for config in configs for key in config))
    differ = [key for key in keys if any(config.get(key) != configs[0].get(key) for config in configs[1:])]
    equal = [key for key in keys if key not in differ]
    head = '<th scope="col">setting</th>' + "".join(f'<th scope="col">{text(label)}</th>' for label in labels)

    def table(name: str, chosen: Sequence[str]) -> str:
        body = "".join(
            f'<tr><th scope="row">{text(key)}</th>'
            + "".join(f"<td>{text(config.get(key))}</td>" for config in configs)
            + "</tr>\n"
            for key in chosen
        )
        return scrolling(name, f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>")

    shown = table("Settings that differ", differ) if differ else "<p>The runs differ in no recorded setting.</p>"
    rest = f"<details><summary>Settings that are equal</summary>{table('Settings that are equal', equal)}</details>"
    return f'<section id="settings"><h2>Where the settings differ</h2>{shown}{rest if equal else ""}</section>'


def _training_section(runs: Sequence[Run], labels: Sequence[str], methods: Sequence[str]) -> str:
    parts = ""
    for run, label in zip(runs, labels, strict=True):
        panels = training_panels(run.metrics, methods)
        if panels:
            parts += f"<details><summary>{text(label)}</summary><figure>{panels}</figure></details>"
    return f'<section id="training"><h2>Training</h2>{parts}</section>' if parts else ""


def _reproduce_section(runs: Sequence[Run], labels: Sequence[str]) -> str:
    commands = "".join(
        f"<h3>{text(label)}</h3>{command_box(_mapping(run, 'environment').get('command'))}"
        for run, label in zip(runs, labels, strict=True)
    )
    return f'<section id="reproduce"><h2>How to reproduce</h2>{commands}</section>'

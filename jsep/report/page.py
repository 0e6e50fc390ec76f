"""The page of one run: index.html with embedded figures, and the same figures as PNGs beside result.json."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jsep.checks import check_choice
from jsep.record import JUDGED, Result, as_number, summarise
from jsep.record.run_files import kind_of, read, read_arrays, read_json
from jsep.report.explorer import METRICS, explorer_data, scales_of
from jsep.report.findings import answer, auto_attack_sentences, findings_table
from jsep.report.formatting import MISSING
from jsep.report.kinds import KINDS, LEDE, LEDE_WITHOUT_SEP, STUDIES
from jsep.report.paper import claims_of_paper, comparison_text
from jsep.report.rendering import render, replace_file, shown
from jsep.report.study_figures import study_figures
from jsep.report.study_tables import describe_run, interval_table, metric_tables
from jsep.report.style import NamedFigure
from jsep.report.table import Table, make_table

_QUESTION = (
    "A classifier that resists adversarial examples is commonly believed to have explanations that resist "
    "manipulation, too, because both would come from a flat loss landscape around the input. If that "
    "holds, moving one robustness moves the other. Here adversarial training is combined with the SEP "
    "term, which flattens (weight > 0) or sharpens (weight < 0) the landscape of the explanation loss; "
    "then every model's predictions and explanations are attacked, on the same images. The claim under "
    "test: the explanation loss that an attack leaves moves with the SEP weight (flatter is easier to "
    "manipulate), and the robust accuracy stays where it was."
)
_EVALUATION_QUESTION = (
    "How robust are the predictions and the explanations of these models, measured on the same images with the same "
    "attacks? And where one model's explanations seem harder to manipulate than another's: are they, or are their maps "
    "only more concentrated, or is the classifier broken?"
)
_FILES = {
    "result.json": "every number of this page",
    "metrics.jsonl": "the course of training, one JSON object a line",
    "maps.npz": "images and maps of the first seed",
    "flags.flags": "the flags of the run, to run it again",
}


def write(run_dir: str | pathlib.Path) -> pathlib.Path:
    """Writes the figures and the page of a run of any kind: PNGs and `index.html` beside its result.json.

    The page is self-contained and needs no network. Each file is replaced atomically. Content from metrics.jsonl and
    maps.npz is left out where they are missing, and the page of a study says so.

    Args:
        run_dir: the run directory.

    Returns:
        The path of index.html.

    Raises:
        InputError: result.json is missing, unreadable or of another format.
    """
    directory = pathlib.Path(run_dir)
    kind = kind_of(read_json(directory))
    check_choice("kind of the result", kind, (*STUDIES, *KINDS))
    if kind in KINDS:
        figures, page = _analysis(directory, kind)
    else:
        figures, page = _study(directory)
    for figure in figures:
        replace_file(directory / f"{figure.name}.png", figure.png)
    path = directory / "index.html"
    replace_file(path, page.encode())
    return path


def _analysis(directory: pathlib.Path, kind: str) -> tuple[list[NamedFigure], str]:
    """Figures and page of a result other than a study."""
    result = read_json(directory)
    arrays, remarks = read_arrays(directory)
    entry = KINDS[kind]
    figures = entry.figures(result, arrays)
    tables = entry.tables(result)
    if kind in JUDGED:
        tables += [table for table in (findings_table(result),) if table is not None]
        found, claims = answer_values(result), []
    else:
        found, claims = {"answer": None}, [(each, comparison_text(each)) for each in claims_of_paper(result)]
    sections = ({"answer": "Answer"} if claims or found["answer"] else {}) | (
        {"pictures": "Pictures"} if figures or remarks else {}
    )
    page = render(
        "analysis.html",
        kind=entry.heading,
        title=str(result.get("experiment", kind)),
        lede=entry.question,
        claims=claims,
        **found,
        about=_about(result),
        sections={**sections, "numbers": "Numbers", "reproduce": "Reproduce"},
        figures=figures,
        remarks=remarks,
        tables=tables,
        **provenance(result),
    )
    return figures, page


def _about(result: Mapping[str, Any]) -> str:
    """The data and the models in one line, as far as known."""
    parts = [mapping(result, part) for part in ("study", "config", "pairs")]
    known = [next((str(part[key]) for part in parts if part.get(key)), "") for key in ("dataset", "model")]
    images = result.get("num_images")
    return ", ".join(filter(None, [*known, f"{images} images" if images else ""]))


def _study(directory: pathlib.Path) -> tuple[list[NamedFigure], str]:
    run = read(directory)
    result = run.result
    figures = study_figures(run)
    by_name = {figure.name: figure for figure in figures}
    methods = [summary["method"] for summary in summarise(result["rows"])]
    explorer = explorer_data(run.maps, methods, mapping(result, "config")) if run.maps else None
    pictures = [by_name[name] for name in ("split", "explanations") if name in by_name]
    is_evaluation = kind_of(result) == "evaluation"
    sections = {
        "answer": "Answer",
        **({"gallery": "Gallery"} if explorer else {}),
        "numbers": "Numbers",
        **({"pictures": "Pictures"} if pictures or run.remarks else {}),
        **({"training": "Training"} if "training" in by_name else {}),
        "reproduce": "Reproduce",
        "files": "Files",
    }
    page = render(
        "study.html",
        kind="Result of a run",
        title=str(result.get("experiment", "result")),
        lede=LEDE if any(row.get("sep_weight") for row in result["rows"]) else LEDE_WITHOUT_SEP,
        about=describe_run(result),
        sections=sections,
        question=_EVALUATION_QUESTION if is_evaluation else _QUESTION,
        **answer_values(result),
        overview=by_name["overview"],
        metrics=metric_tables(result),
        intervals=interval_table(result, every=True),
        findings=findings_table(result),
        rows=rows_table(result),
        explorer=explorer,
        explorer_metrics=METRICS,
        explorer_scales=scales_of(explorer) if explorer else {},
        pictures=pictures,
        attacks=[f for f in figures if f.name.startswith("attack_")],
        remarks=run.remarks,
        training=by_name.get("training"),
        files=_files(directory, figures),
        **provenance(result),
    )
    return figures, page


def answer_values(result: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the template answer.html: the headline of the findings, and each question with its verdict."""
    found = answer(result)
    return {"answer": found, "sentences": (*found.sentences, *auto_attack_sentences(result))}


def rows_table(result: Mapping[str, Any]) -> Table:
    """The rows of result.json as a table, unchanged."""
    # Values of single pairs and images feed the tests and would only clutter the page.
    rows = [row.as_dict() | {"per_pair": {}, "per_image": {}} for row in Result.from_dict(result).rows]
    keys = list(dict.fromkeys(key for row in rows for key in row if not isinstance(row[key], Mapping)))
    note = "Raw values of result.json: losses as they are, accuracies as fractions."
    return make_table(
        keys, [[_raw(row.get(key)) for key in keys] for row in rows], title="Every seed, every metric", notes=(note,)
    )


def _raw(value: Any) -> str:
    number = as_number(value)
    if number is None or isinstance(value, int):
        return shown(value)
    return f"{number:.5g}" if number == number else MISSING


def mapping(result: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A part of a result, empty where it is missing."""
    value = result.get(key)
    return value if isinstance(value, Mapping) else {}


def provenance(result: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the page's section on how to reproduce the run."""
    environment = mapping(result, "environment")
    return {
        "environment": environment,
        "config": result.get("config"),
        "pairs": result.get("pairs"),
        "where": provenance_line(environment),
    }


def provenance_line(environment: Mapping[str, Any]) -> str:
    """When, where and with which software the run was made and how long it took, as far as known."""
    parts = []
    if environment.get("date"):
        parts.append(str(environment["date"])[:10])
    if environment.get("commit"):
        parts.append(f"commit {str(environment['commit'])[:12]}")
    if environment.get("jax"):
        parts.append(f"jax {environment['jax']}")
    if environment.get("device"):
        cores = environment.get("num_cpus")
        on_cpu = environment.get("platform") == "cpu" and cores
        parts.append(f"{shown(environment['device'])}{f' ({cores} cores)' if on_cpu else ''}")
    seconds = environment.get("seconds")
    if isinstance(seconds, int | float):
        parts.append(f"{seconds / 60:.1f} minutes")
    return ", ".join(parts) or "Where and when it ran was not recorded."


def _files(directory: pathlib.Path, figures: Sequence[NamedFigure]) -> dict[str, str]:
    """The files that exist, and the figures about to be written: names of letters, digits, '+', '-' and '_' only."""
    known = {name: meaning for name, meaning in _FILES.items() if (directory / name).is_file()}
    return known | {f"{figure.name}.png": figure.heading for figure in figures}

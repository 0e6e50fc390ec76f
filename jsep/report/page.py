"""One self-contained web page and its pictures from a run directory."""

import base64
import html
import importlib.resources
import json
import os
import pathlib
import string
from collections.abc import Mapping, Sequence
from typing import Any

from jsep.report.answer import answer
from jsep.report.columns import MISSING, PAPER, Column, cells, degraded_meaning, format_number, groups
from jsep.report.comparisons import HEAD, NOTE, comparison_cells
from jsep.report.evaluation import evaluation_answer
from jsep.report.intervals import CAPTION, interval_cells
from jsep.report.intervals import NOTE as INTERVAL_NOTE
from jsep.report.pictures import Picture, draw
from jsep.report.records import Run, read
from jsep.report.style import colours
from jsep.report.summary import as_number, summarise
from jsep.report.tables import describe_run

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


def write(run_dir: str | pathlib.Path) -> pathlib.Path:
    """Writes the pictures and the page of a run: `index.html` and PNGs beside its result.json.

    The page holds everything it shows and needs no network. Each file is replaced as a whole,
    never half written. Without metrics.jsonl or maps.npz their sections are left out, and the page says so.

    Args:
        run_dir: the run directory.

    Returns:
        The path of index.html.

    Raises:
        InputError: result.json is missing, unreadable or of another format.
    """
    run = read(run_dir)
    pictures = draw(run)
    for picture in pictures:
        _replace(run.directory / picture.file, picture.data)
    path = run.directory / "index.html"
    _replace(path, _page(run, pictures).encode())
    return path


def _replace(path: pathlib.Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _text(value: Any) -> str:
    """Escaped text of any value of a file; nothing from a file reaches the page another way."""
    if value is None:
        return MISSING
    return html.escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def _page(run: Run, pictures: Sequence[Picture]) -> str:
    result = run.result
    summaries = summarise(result["rows"])
    parts = {
        "answer": "Answer",
        "numbers": "Numbers",
        "pictures": "Pictures",
        "reproduce": "How to reproduce",
        "files": "Files",
    }
    main = [
        _answer_section(result),
        _numbers_section(result, summaries),
        _pictures_section(run, pictures),
        _provenance_section(result),
        _files_section(run, pictures),
    ]
    skeleton = importlib.resources.files("jsep.report").joinpath("page.html").read_text(encoding="utf-8")
    return string.Template(skeleton).substitute(
        title=_text(result.get("experiment", "result")),
        run=_text(describe_run(result, summaries)),
        navigation="".join(f'<a href="#{key}">{name}</a>' for key, name in parts.items()),
        main="\n".join(main),
    )


def _answer_section(result: Mapping[str, Any]) -> str:
    is_evaluation = result.get("kind") == "evaluation"
    found = evaluation_answer(result) if is_evaluation else answer(result)
    question = _EVALUATION_QUESTION if is_evaluation else _QUESTION
    against = " against" if found.order_as_in_paper is False else ""
    return f"""<section id="question"><h2>The question</h2>
<p>{_text(question)}</p></section>
<section id="answer"><h2>The answer of this run</h2>
<div class="answer{against}">
<p><strong>{_text(found.verdict)}</strong> {_prose(found.claim)}</p>
<p>{_prose(found.confound)}</p>
</div></section>"""


def _prose(sentences: Sequence[str]) -> str:
    """Escaped sentences in which no line breaks between a number and its '%'."""
    return _text(" ".join(sentences).replace(" %", "\u00a0%"))


def _numbers_section(result: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]]) -> str:
    tables = "".join(
        _table(group, entries, summaries, caption=group == PAPER) for group, entries in groups(summaries).items()
    )
    note = (
        f'<p><span class="mark">*</span> degraded: {_text(degraded_meaning(result))}.</p>'
        if any(s["degraded"] for s in summaries)
        else ""
    )
    shown = [entry for entries in groups(summaries).values() for entry in entries]
    meanings = "".join(f"<dt>{_text(entry.title)}</dt><dd>{_text(entry.meaning)}</dd>" for entry in shown)
    return f"""<section id="numbers"><h2>The numbers</h2>
{tables}{note}{_intervals(result)}{_comparisons(result)}
<details><summary>What each column means</summary><dl>{meanings}</dl></details>
<details><summary>Every seed, every metric</summary>{_rows_table(result["rows"])}</details></section>"""


def _table(group: str, entries: Sequence[Column], summaries: Sequence[Mapping[str, Any]], *, caption: bool) -> str:
    colour = colours([summary["method"] for summary in summaries])
    head = "".join(
        f'<th scope="col">{_text(entry.heading)}<span class="unit">{_text(entry.unit)}</span></th>' for entry in entries
    )
    columns = [cells(entry, summaries) for entry in entries]
    body = ""
    for index, summary in enumerate(summaries):
        swatch = f'<span class="swatch" style="background:{colour[summary["method"]]}" aria-hidden="true"></span>'
        mark = ' <span class="mark" title="degraded">*</span>' if summary["degraded"] else ""
        body += (
            f'<tr><th scope="row">{swatch}{_text(summary["method"])}{mark}</th>'
            + "".join(f"<td>{_text(c[index])}</td>" for c in columns)
            + "</tr>\n"
        )
    text = f"{group[0].upper()}{group[1:]}" + (": losses in units of 1e-7" if caption else "")
    head = f'<thead><tr><th scope="col">method</th>{head}</tr></thead>'
    return _scrolling(text, f"<table><caption>{_text(text)}</caption>{head}<tbody>\n{body}</tbody></table>")


def _intervals(result: Mapping[str, Any]) -> str:
    shown = ""
    for every in (False, True):
        head, rows = interval_cells(result, every=every)
        if not rows:
            return shown
        table = _text_table(CAPTION, head, rows)
        shown += (
            f"<details><summary>Every metric with its interval</summary>{table}</details>"
            if every
            else f"{table}<p>{_text(INTERVAL_NOTE)}</p>"
        )
    return shown


def _comparisons(result: Mapping[str, Any]) -> str:
    rows = comparison_cells(result)
    return _text_table("Differences on the same pairs", HEAD, rows) + f"<p>{_text(NOTE)}</p>" if rows else ""


def _text_table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{_text(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{_text(row[0])}</th>' + "".join(f"<td>{_text(cell)}</td>" for cell in row[1:]) + "</tr>\n"
        for row in rows
    )
    table = f"<table><caption>{_text(caption)}</caption><thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table>"
    return _scrolling(caption, table)


def _rows_table(rows: Sequence[Mapping[str, Any]]) -> str:
    # Values of single pairs are for the tests over pairs, not for readers.
    keys = list(dict.fromkeys(key for row in rows for key in row if not isinstance(row[key], Mapping)))
    head = "".join(f'<th scope="col">{_text(key)}</th>' for key in keys)
    body = "".join("<tr>" + "".join(f"<td>{_raw(row.get(key))}</td>" for key in keys) + "</tr>\n" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"
    text = "Raw values of result.json: losses as they are, accuracies as fractions."
    return f"<p>{text}</p>{_scrolling('Every seed', table)}"


def _raw(value: Any) -> str:
    number = as_number(value)
    if number is None or isinstance(value, int):
        return _text(value)
    return _text(f"{number:.5g}") if number == number else _text(format_number(number, 1.0, 0))


def _pictures_section(run: Run, pictures: Sequence[Picture]) -> str:
    figures = "".join(_figure(picture) for picture in pictures)
    remarks = "".join(f"<p>{_text(remark)}</p>" for remark in run.remarks)
    return f'<section id="pictures"><h2>Pictures</h2>\n{figures}{remarks}</section>'


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.data).decode()
    image = f'<img style="--width:{picture.width}px" alt="{_text(picture.alt)}" src="data:image/png;base64,{data}">'
    return (
        f"<h3>{_text(picture.heading)}</h3>\n<figure>{_scrolling(picture.heading, image)}"
        f"<figcaption>{_text(picture.caption)}</figcaption></figure>\n"
    )


def _scrolling(label: str, content: str) -> str:
    """A box that scrolls sideways on a narrow screen, by keyboard too; `content` is already escaped."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(label)}">{content}</div>\n'


def _facts(name: str, facts: Any, skip: Sequence[str] = ()) -> str:
    if not isinstance(facts, Mapping) or not facts:
        return f"<p>{name}: not recorded.</p>"
    rows = "".join(
        f'<tr><th scope="row">{_text(str(key))}</th><td>{_text(value)}</td></tr>\n'
        for key, value in facts.items()
        if key not in skip
    )
    table = f'<table class="facts"><tbody>\n{rows}</tbody></table>'
    return f"<details><summary>{name}</summary>{_scrolling(name, table)}</details>"


def _provenance_section(result: Mapping[str, Any]) -> str:
    environment, pairs = result.get("environment"), result.get("pairs")
    command = environment.get("command") if isinstance(environment, Mapping) else None
    shown = f"<pre>{_text(command)}</pre>" if command else "<p>The command was not recorded.</p>"
    pinned = ""
    if isinstance(pairs, Mapping) and pairs.get("hash"):
        code = f"<code>{_text(pairs['hash'])}</code>"
        pinned = f"<p>Every model was tested on the same pairs of images; the hash of their list is {code}.</p>"
    return f"""<section id="reproduce"><h2>How to reproduce</h2>
{shown}{pinned}
{_facts("Configuration", result.get("config"))}
{_facts("Environment", environment, skip=("command",))}
{_facts("Pairs of images", pairs)}</section>"""


def _files_section(run: Run, pictures: Sequence[Picture]) -> str:
    known = (
        ("result.json", "every number of this page"),
        ("metrics.jsonl", "the course of training, one JSON object a line"),
        ("maps.npz", "images and maps of the first seed"),
        ("values.npz", "the value of every metric on every test image and pair"),
        ("pairs.json", "the pairs of images, to test other models on them"),
        ("flags.flags", "the flags of the run, to run it again"),
        *((picture.file, picture.heading) for picture in pictures),
    )
    # File names are ours or made of letters, digits, '+', '-' and '_' only, so they are safe in an address.
    items = "".join(
        f'<li><a href="{name}">{name}</a>: {_text(meaning)}</li>\n'
        for name, meaning in known
        if (run.directory / name).is_file()
    )
    return f'<section id="files"><h2>Files</h2><ul>\n{items}</ul></section>'

"""One self-contained web page and its pictures from a run directory."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jsep.record import summarise
from jsep.report import explorer
from jsep.report.charts import course_chart, overview_panels, training_panels
from jsep.report.columns import DEGRADED
from jsep.report.findings import answer, auto_attack_sentences
from jsep.report.mosaic import explanation_mosaic
from jsep.report.numbers import Row, finding_table, interval_tables, intervals_of, number_tables, rows_table
from jsep.report.parts import assemble, command_box, facts_table, printed_figure, prose, replace_file, text
from jsep.report.pictures import Picture, draw
from jsep.report.records import Run, read
from jsep.report.style import colours, marks
from jsep.report.tables import describe_run

LEDE = "Does a flatter explanation landscape change how robust the explanations are, and leave accuracy alone?"

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
FILES = ("page.css", *explorer.FILES[:1], "theme.js", "tables.js", *explorer.FILES[1:])


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
        replace_file(run.directory / picture.file, picture.data)
    path = run.directory / "index.html"
    replace_file(path, _page(run, pictures).encode())
    return path


def _page(run: Run, pictures: Sequence[Picture]) -> str:
    result = run.result
    summaries = summarise(result["rows"])
    methods = [summary["method"] for summary in summaries]
    by_file = {picture.file: picture for picture in pictures}
    sections = {
        "answer": ("Answer", _answer_section(result, summaries, by_file["overview.png"])),
        "numbers": ("Numbers", _numbers_section(result, summaries)),
        "gallery": ("Gallery", _gallery_section(run, methods)),
        "pictures": ("Pictures", _pictures_section(run, methods, by_file)),
        "training": ("Training", _training_section(run, methods, by_file)),
        "reproduce": ("Reproduce", _provenance_section(result)),
        "files": ("Files", _files_section(run, pictures)),
    }
    return assemble(
        kind="Result of a run",
        title=str(result.get("experiment", "result")),
        lede=LEDE,
        run=describe_run(result, summaries),
        sections={key: name for key, (name, content) in sections.items() if content},
        main="\n".join(content for _, content in sections.values()),
        files=FILES,
    )


def _answer_section(result: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]], overview: Picture) -> str:
    question = _EVALUATION_QUESTION if _is_evaluation(result) else _QUESTION
    return f"""<section id="answer"><h2>The answer of this run</h2>
{answer_box(result)}
<figure>{overview_panels(summaries, result["rows"])}<figcaption>{text(overview.caption)}</figcaption></figure>
<details><summary>The question in full</summary><p>{text(question)}</p></details></section>"""


def _is_evaluation(result: Mapping[str, Any]) -> bool:
    return result.get("kind") == "evaluation"


def answer_box(result: Mapping[str, Any]) -> str:
    """The headline of the findings, and each question with its verdict, differences and intervals."""
    found = answer(result)
    sentences = "".join(
        f"<li>{prose([sentence])}</li>" for sentence in (*found.sentences, *auto_attack_sentences(result))
    )
    return f"""<div class="answer"><p class="verdict">{text(found.headline)}</p>
<details class="grounds"><summary>Every question with its differences and intervals</summary>
<ul>{sentences}</ul></details>
</div>"""


def _numbers_section(result: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]]) -> str:
    methods = [summary["method"] for summary in summaries]
    colour, mark = colours(methods), marks(methods)
    rows = [Row((m,), colour[m], mark[m], s, intervals_of(result, m)) for m, s in zip(methods, summaries, strict=True)]
    return f"""<section id="numbers"><h2>The numbers</h2>
{number_tables(("method",), rows, DEGRADED)}{interval_tables(result)}{finding_table(result)}
{rows_table(result["rows"])}</section>"""


def _gallery_section(run: Run, methods: Sequence[str]) -> str:
    config = run.result.get("config")
    data = (
        explorer.explorer_data(run.maps, methods, config if isinstance(config, Mapping) else {}) if run.maps else None
    )
    if data is None:
        return ""
    count = len(data["steps"])
    steps = (
        f"{count} of the attack's steps were kept, closer together at its start, where most happens; the curves join "
        "them. The last one is where the attack ended, which need not be the image it returned: that is the best one "
        "that kept the prediction."
        if data["whole"]
        else "This run kept no steps in between, so only start and end can be shown; the curves join the two."
    )
    return f"""<section id="gallery"><h2>Watch the attack</h2>
<p>The attack changes an image, a little at each step, until the map that explains the model's decision resembles the
map of another image, the target. Move the slider, or focus it and use the arrow keys: image, map and curve move
together. Switch the model to see which one gives way.</p>
{explorer.explorer_section(data)}
<p class="note">First seed; the pairs are the first of each class in the list, not chosen by their result. {steps}
Change of the image: mean over channels, orange darker, purple brighter. Metrics are computed here, in the page, from
8-bit images and 16-bit maps.</p></section>"""


def _pictures_section(run: Run, methods: Sequence[str], by_file: Mapping[str, Picture]) -> str:
    parts = []
    if run.maps is not None and "attack_course.png" in by_file:
        parts.append(_beside(by_file["attack_course.png"], f"<div>{course_chart(run.maps, methods)}</div>"))
    if "split.png" in by_file:
        parts.append(_printed(by_file["split.png"], lines=True))
    if run.maps is not None and "explanations.png" in by_file:
        parts.append(_beside(by_file["explanations.png"], explanation_mosaic(run.maps, methods)))
    files = [name for name in by_file if name.startswith("attack_") and name != "attack_course.png"]
    if files:
        shown = "".join(_printed(by_file[name]) for name in files)
        parts.append(f"<details><summary>Start and end of the attack on each model</summary>{shown}</details>")
    parts += [f"<p>{text(remark)}</p>" for remark in run.remarks]
    return f'<section id="pictures"><h2>Pictures</h2>\n{"".join(parts)}</section>' if parts else ""


def _beside(picture: Picture, content: str) -> str:
    """A picture as the page draws it itself, with its caption at its side where there is room."""
    caption = f"<figcaption>{text(picture.caption)}</figcaption>"
    return f'<h3>{text(picture.heading)}</h3>\n<figure class="beside">{content}{caption}</figure>\n'


def _printed(picture: Picture, *, lines: bool = False) -> str:
    figure = printed_figure(picture.heading, picture.alt, picture.caption, picture.data, picture.width, lines=lines)
    return f"<h3>{text(picture.heading)}</h3>\n{figure}"


def _training_section(run: Run, methods: Sequence[str], by_file: Mapping[str, Picture]) -> str:
    panels = training_panels(run.metrics, methods) if "training.png" in by_file else ""
    if not panels:
        return ""
    caption = text(by_file["training.png"].caption)
    return f"""<section id="training"><h2>Training</h2>
<figure>{panels}<figcaption>{caption} Dotted: the loss with the SEP term.</figcaption></figure></section>"""


def _provenance_section(result: Mapping[str, Any]) -> str:
    environment, pairs = result.get("environment"), result.get("pairs")
    known = environment if isinstance(environment, Mapping) else {}
    pinned = ""
    if isinstance(pairs, Mapping) and pairs.get("hash"):
        code = f"<code>{text(pairs['hash'])}</code>"
        pinned = f"<p>Every model was tested on the same pairs of images; the hash of their list is {code}.</p>"
    return f"""<section id="reproduce"><h2>How to reproduce</h2>
<p>{provenance_line(known)}</p>
{command_box(known.get("command"))}{pinned}
{facts_table("Configuration", result.get("config"))}
{facts_table("Environment", environment, skip=("command",))}
{facts_table("Pairs of images", pairs)}</section>"""


def provenance_line(environment: Mapping[str, Any]) -> str:
    """When, where, with what and for how long, as far as it is known."""
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
        parts.append(f"{environment['device']}{f' ({cores} cores)' if on_cpu else ''}")
    seconds = environment.get("seconds")
    if isinstance(seconds, int | float):
        parts.append(f"{seconds / 60:.1f} minutes")
    return text(", ".join(parts)) if parts else "Where and when it ran was not recorded."


def _files_section(run: Run, pictures: Sequence[Picture]) -> str:
    known = (
        ("result.json", "every number of this page"),
        ("metrics.jsonl", "the course of training, one JSON object a line"),
        ("maps.npz", "images and maps of the first seed"),
        ("flags.flags", "the flags of the run, to run it again"),
        *((picture.file, picture.heading) for picture in pictures),
    )
    # File names are ours or made of letters, digits, '+', '-' and '_' only, so they are safe in an address.
    items = "".join(
        f'<li><a href="{name}">{name}</a>: {text(meaning)}</li>\n'
        for name, meaning in known
        if (run.directory / name).is_file()
    )
    return f'<section id="files"><h2>Files</h2><ul>\n{items}</ul></section>'

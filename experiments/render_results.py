"""Writes the tables of README.md, docs/ and results/ (one page of findings, and one page per result) from
results/*/result.json, the table of experiments/README.md from the headers of the flagfiles, and the help of every
script, which `--help` then shows without importing JAX.

python experiments/render_results.py            write the files
python experiments/render_results.py --check    exit code 1 where one is out of date
"""

import collections
import contextlib
import functools
import io
import json
import pathlib
import re
import sys
from collections.abc import Callable

from absl import flags

from jsep import models, record, report
from jsep.cli import command_line, program, scripts
from jsep.report.formatting import MISSING
from jsep.study import recipes

flags.DEFINE_bool("check", False, "write nothing; exit code 1 where a file is not up to date")

ROOT = pathlib.Path(__file__).resolve().parents[1]
MARK = re.compile(r"(<!-- table: (?P<name>\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)

FINDINGS = re.compile(r"(<!-- findings: (?P<name>\w+) -->\n).*?(<!-- end of findings -->)", re.DOTALL)
FINDING = re.compile(r"(<!-- finding -->\n).*?(<!-- end of finding -->)", re.DOTALL)
CARDS = re.compile(r"(<!-- cards -->\n).*?(<!-- end of cards -->)", re.DOTALL)
FLAGFILES = re.compile(r"(<!-- flagfiles -->\n).*?(<!-- end of flagfiles -->)", re.DOTALL)

FIGURES = {
    "attack_mat": "Figure 1a: the attack on explanations of MAT",
    "clusters": "Figure 2: maps within and between clusters",
    "explanations": "Figure 4: maps of the methods on the same images, with their effective pixels",
    "cross": "Table 3 and Figure 5: trained with one explanation, tested with others",
}
"""file name -> alternative text, for the figures of a run that are in the paper."""


def _provenance(result: dict) -> str:
    made = result["environment"]
    where = f"{made['device']} ({made['num_cpus']} cores)" if made["platform"] == "cpu" else made["device"]
    return (
        f"`{made['command']}`\n\ncommit {made['commit'][:12]}, jax {made['jax']}, {where}, "
        f"{made['seconds'] / 60:.1f} minutes, {made['date'][:10]}"
    )


def _markdown(table: report.Table) -> str:
    return report.format_table(table, style="markdown")


def _table(result: dict) -> str:
    """Every table, with the findings below the last."""
    return report.format_table(result, style="markdown")


SHOWN = {"definitive_base": "CIFAR-10", "evaluate_digits": "digits", "cifar10_sep_quick": "CIFAR-10, small models"}
"""The results whose verdicts README shows, where they are there."""

ABOUT = {"definitive_base": "On CIFAR-10, an early look at {models} models of a small ConvNet"}
"""Results whose findings are said with the data, the network and the number of models before them."""

CLAIMS = {
    "belief_by_loss": "adversarial training makes explanations harder to manipulate",
    "belief_by_concordance": "the same with the concentration of the maps taken out",
    "grows_by_loss": "the more so, the larger its budget",
    "grows_by_concordance": "the same with the concentration of the maps taken out",
    "order_by_loss": "flattening lowers, sharpening raises the loss that an attack on explanations leaves",
    "order_by_concordance": "the same with the concentration of the maps taken out",
    "equal_accuracy": "SEP leaves robust accuracy where it was, within 2 points",
}
"""Question -> its wording in README."""


def _verdicts(result: dict) -> dict[str, str]:
    """Question of `CLAIMS` -> the worst of its verdicts in a result; `MISSING` where it is not asked there."""
    found = report.answer(result).verdicts
    by_claim = {claim: [own for (question, _), own in found.items() if question == claim] for claim in CLAIMS}
    return {claim: record.worst(own) if own else MISSING for claim, own in by_claim.items()}


def _words(result: dict) -> str:
    """The findings of a result in words, after what `ABOUT` says of it."""
    about = ABOUT.get(result["experiment"], "").format(models=len(result["rows"]))
    return " ".join(filter(None, [f"**{about}.**" if about else "", report.answer(result).headline]))


def _finding(results: dict[str, dict]) -> str:
    """What README says is found: the verdicts of the engine on the claims that matter most, counted and as a table."""
    words = ""
    heads, columns = [], []
    for name, title in SHOWN.items():
        if name not in results:
            continue
        seeds = record.summarise(results[name]["rows"])[0]["num_seeds"]
        heads.append(
            f"[{title}](results/{name}/README.md), {seeds} seeds, {len(results[name]['pairs']['victims'])} pairs"
        )
        columns.append(_verdicts(results[name]))
        if any(verdict == record.HOLDS for verdict in columns[-1].values()):
            words += f"{_words(results[name])} "
    rows = [[text, *(own[claim] for own in columns)] for claim, text in CLAIMS.items()]
    rows = [row for row in rows if set(row[1:]) != {MISSING}]
    verdicts = collections.Counter(cell for row in rows for cell in row[1:] if cell != MISSING)
    undecided = verdicts[record.UNDECIDED]
    return (
        f"{words}Of the {sum(verdicts.values())} answers below, from models trained here, {undecided} are undecided: "
        "seeds and images both count as samples, and an order of means is no finding yet. "
        "[The study that is to decide](docs/definitive_study.md) goes on.\n\n"
        + _markdown(report.make_table(["the paper's claim, and the belief it attacks", *heads], rows))
    )


def _findings(result: dict) -> str:
    """The answer of a result: in words, a row for each method, and every claim."""
    tables = [report.brief_table(result), report.findings_table(result)]
    return "\n\n".join([_words(result), *(_markdown(table) for table in tables if table is not None)])


def _read(name: str) -> dict:
    return record.upgrade(json.loads((ROOT / "results" / name / "result.json").read_text()))


def _filled(text: str) -> str:
    def shown(show: Callable[[dict], str], match: re.Match[str]) -> str:
        return f"{match[1]}{show(_read(match['name']))}\n\n{match[3]}"

    for mark, show in ((MARK, _table), (FINDINGS, _findings)):
        text = mark.sub(functools.partial(shown, show), text)
    return text


def _cards() -> str:
    """The cards of all models of the zoo, a table for each protocol."""
    measured = {name: models.load_pretrained(name).card["measured"] for name in models.pretrained()}
    return "\n\n".join(map(_markdown, report.cards_tables(measured)))


def _flagfiles() -> str:
    """Every flagfile with the script, question and device of its header, and the recipes of `paper.py` that use it."""
    used: dict[str, list[str]] = {}
    for recipe in recipes.read_recipes(ROOT / "experiments" / "paper.json").values():
        used.setdefault(pathlib.Path(recipe.flagfile).stem, []).append(f"{recipe.name} ({recipe.chosen})")
    lines = ["| flagfile | script | question | device | recipes |", "|---|---|---|---|---|"]
    for path in sorted((ROOT / "experiments" / "flags").glob("*.flags")):
        about = recipes.header(path)
        own = ", ".join(used.get(path.stem, [])) or ("the tests" if path.stem.endswith("_smoke") else "–")
        cells = (f"`{path.stem}`", f"`{about['script']}.py`", about["question"], about["device"], own)
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)


def _help_page(name: str) -> str:
    """The flags of a script as `--help` prints them."""
    before, argv, printed = set(flags.FLAGS), sys.argv, io.StringIO()
    sys.argv = [f"jsep {name}", "--help"]
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            program.start(name)
        return printed.getvalue().removeprefix(f"{scripts.description(name)}\n\n")
    finally:
        sys.argv = argv
        for flag in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, flag)


def render() -> dict[pathlib.Path, str]:
    """The text that each generated file should have."""
    texts = {program.HELP_PAGES / f"{name}.txt": _help_page(name) for name in scripts.SCRIPTS}
    texts |= {path: _filled(path.read_text()) for path in sorted((ROOT / "docs").glob("*.md"))}
    zoo = ROOT / "docs" / "zoo.md"
    texts[zoo] = CARDS.sub(lambda match: f"{match[1]}{_cards()}\n\n{match[2]}", texts[zoo])
    about = ROOT / "experiments" / "README.md"
    texts[about] = FLAGFILES.sub(lambda match: match[1] + _flagfiles() + "\n" + match[2], about.read_text())
    results = {path.parent.name: _read(path.parent.name) for path in sorted((ROOT / "results").glob("*/result.json"))}
    finding = _finding(results)
    readme = (ROOT / "README.md").read_text()
    texts[ROOT / "README.md"] = FINDING.sub(lambda match: f"{match[1]}{finding}\n\n{match[2]}", readme)
    texts[ROOT / "results" / "README.md"] = _findings_page(results)
    return texts | {ROOT / "results" / name / "README.md": _page(name, result) for name, result in results.items()}


def _findings_page(results: dict[str, dict]) -> str:
    """The page of findings: the answers of all results to the paper's questions."""
    pages = "\n".join(f"- [{name}]({name}/README.md)" for name in results)
    return (
        "\n\n".join(
            [
                "# Results",
                "Generated by `python experiments/render_results.py` from the `result.json` of each folder. A folder "
                "holds what a run printed and drew: the rows of every seed, its configuration and where it comes from.",
                "## At a glance: does SEP move explanation robustness as the paper says?",
                "The paper's order at the end of the attack is SEP + (flattened) < MAT < SEP − (sharpened) in "
                "explanation loss. "
                "1 − concordance, the share removed and the cosine ask the same with the concentration of the maps "
                "taken out.",
                _markdown(report.order_table(results)),
                "## The paper, item by item",
                "How many of an item's claims hold, are undecided, and so on; each result has them one by one.",
                _markdown(report.items_table(results)),
                f"## Every result\n\n{pages}",
            ]
        ).strip()
        + "\n"
    )


def _alt(figure: str) -> str:
    """The alternative text of a figure of a run, by the name of its file."""
    method = figure.removeprefix("attack_")
    plain = f"the attack on explanations of {record.readable(method)}" if method != figure else figure
    return FIGURES.get(figure, plain)


def _page(name: str, result: dict) -> str:
    """The page of one result: tables and findings, provenance, settings compared with the paper's, figures."""
    figures = sorted((ROOT / "results" / name).glob("*.png"))
    pictures = "\n".join(f"![{_alt(png.stem)}]({png.name})" for png in figures)
    settings = report.settings_table({name: result})
    table = _table(result)
    if result.get("kind", "study") in record.JUDGED:  # the findings come first
        *numbers, words = table.split("\n\n")
        table = "\n\n".join([words, *numbers])
    paper = report.paper_table(name, result)
    parts = [f"# {name}", table]
    parts += [f"## Beside the paper\n\n{_markdown(paper)}"] if paper is not None else []
    parts += [f"## Where it comes from\n\n{_provenance(result)}"]
    parts += [f"## Hyper-parameters\n\n{_markdown(settings)}"] if settings is not None else []
    parts += [f"## Figures\n\n{pictures}"] if pictures else []
    return "\n\n".join(parts).strip() + "\n"


def main() -> None:
    """Writes the files that are not up to date, or lists them."""
    only_checks = flags.FLAGS.check
    delattr(flags.FLAGS, "check")  # the help of a script lists every flag that there is
    stale = []
    for path, text in render().items():
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path.relative_to(ROOT))
        if not only_checks:
            path.write_text(text)
            print(f"wrote {stale[-1]}")
    if stale and only_checks:
        print(
            f"not up to date: {', '.join(map(str, stale))}; run: python experiments/render_results.py", file=sys.stderr
        )
        sys.exit(1)
    if not stale:
        print("README.md, docs/ and results/ are up to date")


if __name__ == "__main__":
    command_line.main(main)

"""The kinds of result other than studies: the question that each answers, its tables and its figures."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jsep.checks import check_choice
from jsep.record import JUDGED, Comparison
from jsep.record.run_files import kind_of
from jsep.report.attacks import attack_tables
from jsep.report.cards import card_tables
from jsep.report.correlation import brief_claims, brief_correlation, correlation_figures, correlation_tables
from jsep.report.cross_method import brief_cross_method, cross_method_claims, cross_method_figures, cross_method_tables
from jsep.report.findings import answer, brief_answer, findings_table
from jsep.report.gallery import gallery_figures, gallery_tables
from jsep.report.landscape import brief_landscape, landscape_tables
from jsep.report.landscape_figures import landscape_figures
from jsep.report.paper import claim_sentences
from jsep.report.precision import precision_tables
from jsep.report.selection import clusters_claim, selection_figures, selection_tables
from jsep.report.strength import brief_strength, strength_tables
from jsep.report.study_tables import brief_table as brief_study
from jsep.report.study_tables import study_tables
from jsep.report.style import NamedFigure
from jsep.report.table import Style, Table, write_table
from jsep.report.weight_sweep import brief_weights, trend_claims, weight_sweep_figures, weight_sweep_tables

Content = Mapping[str, Any]
Arrays = Mapping[str, np.ndarray]

LEDE = "Does a flatter explanation landscape change how robust the explanations are, and leave accuracy alone?"
"""The question that a study of SEP answers."""

LEDE_WITHOUT_SEP = "How far can the explanations of these models be moved, and how well do their predictions resist?"
"""The question that a study or an evaluation of other models answers."""


def _no_figures(result: Content, arrays: Arrays) -> list[NamedFigure]:
    return []


def _no_claims(result: Content) -> list[Comparison]:
    return []


class Kind(NamedTuple):
    """A kind of result other than a study: heading, question, its tables, and the figures that its arrays allow.

    brief: result -> the one table that a terminal shows at the end of a run; None for the first of its tables; claims:
    result -> the paper's claims that it measures, for those whose rows are not judged like those of a study.
    """

    heading: str
    question: str
    tables: Callable[[Content], list[Table]]
    figures: Callable[[Content, Arrays], list[NamedFigure]] = _no_figures
    brief: Callable[[Content], Table] | None = None
    claims: Callable[[Content], list[Comparison]] = _no_claims


KINDS: dict[str, Kind] = {
    "explanation_methods": Kind(
        "Explanation methods", "How do the maps of the methods differ, and do they notice other weights?",
        gallery_tables, gallery_figures,
    ),
    "attack_strength": Kind(
        "Attacks on predictions", "How strong are the attacks, and do implementations agree?", strength_tables,
        brief=brief_strength,
    ),
    "explanation_attacks": Kind(
        "Attacks on explanations", "Which attack moves the maps furthest, and what does each add?", attack_tables
    ),
    "selection": Kind(
        "Selection of images", "Does the choice of images change what a study finds?",
        selection_tables, selection_figures, claims=clusters_claim,
    ),
    "cross_method": Kind(
        "Explanations trained and tested", "Does SEP with one explanation carry over to others?",
        cross_method_tables, cross_method_figures, brief_cross_method, cross_method_claims,
    ),
    "landscape": Kind(
        "Landscape of trained models",
        "How steep and curved are loss, margin and explanation around an image, and does that predict the attack?",
        landscape_tables, landscape_figures, brief_landscape,
    ),
    "precision": Kind("Numerical precision", "Does bfloat16 change any reported number?", precision_tables),
    "sep_weight_sweep": Kind(
        "SEP weights", "What does the SEP weight do to both robustnesses?", weight_sweep_tables, weight_sweep_figures,
        brief_weights, trend_claims,
    ),
    "correlation": Kind(
        "Both robustnesses over many models", "Are robust accuracy and explanation robustness correlated?",
        correlation_tables, correlation_figures, brief_correlation, brief_claims,
    ),
    "card": Kind(
        "Card of a model", "How robust are its predictions and its explanations, by a fixed protocol?", card_tables
    ),
}  # fmt: skip
"""kind of a result.json -> `Kind`; studies and evaluations have pages of their own."""

STUDIES = ("study", "evaluation")


def tables_of(result: Content) -> list[Table]:
    """Every table of a result. Raises: InputError for a kind unknown to this version."""
    kind = kind_of(result)
    if kind not in STUDIES:
        check_choice("kind of the result", kind, (*STUDIES, *KINDS))
    tables = study_tables(result) if kind in STUDIES else KINDS[kind].tables(result)
    if kind not in JUDGED:
        return tables
    # The headline of the findings stands at the end.
    found = [table for table in (findings_table(result),) if table is not None]
    return [*tables, *found, Table((), (), notes=(answer(result).headline,), in_terminal=False)]


def brief_table(result: Content) -> Table:
    """The one table that a terminal shows of a result: a row for each method, model or setting, its main columns.

    Raises: InputError for a kind unknown to this version.
    """
    kind = kind_of(result)
    if kind in STUDIES:
        return brief_study(result)
    check_choice("kind of the result", kind, (*STUDIES, *KINDS))
    brief = KINDS[kind].brief
    return KINDS[kind].tables(result)[0] if brief is None else brief(result)


def brief_findings(result: Content) -> tuple[str, ...]:
    """The findings of a result as a terminal shows them, a paragraph each; empty for a kind without claims."""
    kind = kind_of(result)
    if kind in JUDGED:
        return brief_answer(result)
    return claim_sentences(KINDS[kind].claims(result)) if kind in KINDS else ()


def format_table(table_or_result: Table | Content, *, style: Style = "terminal") -> str:
    """A table, or every table of a result, as text.

    Args: table_or_result: a table, or the content of a result.json; style: "terminal" (at most 100 columns wide, and
      without the tables of findings and intervals, which scripts print as sentences), "markdown", "html", or "latex"
      (booktabs).
    Raises: InputError for another style, a kind unknown to this version, or a study without rows.
    """
    if isinstance(table_or_result, Table):
        return write_table(table_or_result, style)
    tables = [table for table in tables_of(table_or_result) if table.in_terminal or style != "terminal"]
    return "\n\n".join(write_table(table, style) for table in tables)

"""The cards of models side by side, a table for each protocol."""

from collections.abc import Mapping
from typing import Any

from jsep import evaluate
from jsep.record import num_pixels_of
from jsep.report.formatting import MISSING, metric_number
from jsep.report.shown import OF_CARD
from jsep.report.table import Column, Table, make_table

_NOTE = (
    "Robust accuracy: PGD; loss at end: the ensemble of attacks on explanations. The losses are means over the pairs "
    "whose two images the model classifies correctly."
)


def cards_tables(measured: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Table]:
    """What was measured of each model, a table for each protocol.

    Args: measured: model -> protocol -> what `study.measure_card` returned.
    """
    names = sorted({protocol for own in measured.values() for protocol in own})
    return [_table(protocol, {model: own[protocol] for model, own in measured.items() if protocol in own})
            for protocol in names]  # fmt: skip


def _table(protocol: str, cards: Mapping[str, Mapping[str, Any]]) -> Table:
    pixels = num_pixels_of(list(cards.values()))
    metrics = [evaluate.METRICS[name].of_maps(pixels) for name in OF_CARD]
    rows = [
        [model, *(metric_number(card[metric.name], metric) if metric.name in card else MISSING
                  for metric in metrics), str(card["pairs_attacked"])]
        for model, card in cards.items()
    ]  # fmt: skip
    heads = [Column(metric.heading, metric.unit, meaning=metric.meaning) for metric in metrics]
    return make_table(["model", *heads, "pairs"], rows, title=protocol, notes=(_NOTE,))


def card_tables(result: Mapping[str, Any]) -> list[Table]:
    """The card of one model."""
    return cards_tables({result["model"]: {result["protocol"]: result["card"]}})

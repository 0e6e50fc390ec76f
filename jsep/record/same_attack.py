"""Which attacks of several results are the same, so that what they left compares."""

from collections.abc import Mapping, Sequence
from typing import Any

from jsep.record.row import UNBOUNDED, Result

Content = Mapping[str, Any]

OWN = "study"
"""The attack on explanations that the settings of a study describe."""

_MAP = ("map_reduce", "map_normalize", "explanation_method", "explanation_options", "explanation_attacked_method")
_BALL = ("explanation_epsilon", "explanation_norm", "explanation_softmax_tolerance")
_STEPS = (
    "explanation_attack_kind", "explanation_attack_options", "explanation_num_steps", "explanation_learning_rate",
    "explanation_map_weight", "explanation_output_weight",
)  # fmt: skip
_SETTINGS = {
    UNBOUNDED: (*_MAP, *_STEPS),
    "ensemble": (*_MAP, *_BALL, "explanation_version"),
}
"""attack -> the settings that it depends on; the others depend on all but the version of the ensemble."""

_ON_PREDICTIONS = ("norm", "test_alpha", "test_num_steps", "test_images")


def settings_of(content: Content) -> Mapping[str, Any]:
    """The settings of the study whose models a result tests: its own, or for a landscape analysis those in "study"."""
    found = content.get("study") if content.get("kind") == "landscape" else content.get("config")
    return found if isinstance(found, Mapping) else {}


def attacks_of(content: Content) -> tuple[str, ...]:
    """The attacks on explanations that every model of a result met; first the one that its numbers are of."""
    if content.get("kind") == "landscape":
        return (OWN,)
    result = Result.from_dict(content)
    return (result.rows[0].attack or OWN, *reversed(result.other_attacks)) if result.rows else ()


def attack_settings(content: Content, attack: str) -> dict[str, Any]:
    """The settings that one of `attacks_of` depends on; one that an older result lacks is None, as one left empty."""
    settings, names = settings_of(content), _SETTINGS.get(attack, (*_MAP, *_BALL, *_STEPS))
    return {name: settings.get(name) or None for name in names}


def shared_attack(contents: Sequence[Content]) -> str | None:
    """The attack on explanations that several results share, with the same settings on the same pairs of images: the
    one that the numbers of the first are of where it can be; None where they share none."""
    hashes = {str((content.get("pairs") or {}).get("hash")) for content in contents}
    if len(hashes) > 1 or "None" in hashes:
        return None
    first, *others = contents
    for attack in attacks_of(first):
        own = attack_settings(first, attack)
        if all(attack in attacks_of(each) and attack_settings(each, attack) == own for each in others):
            return attack
    return None


def same_prediction_attack(contents: Sequence[Content]) -> bool:
    """Whether the robust accuracies of several results are of the same attack on as many images."""
    found = []
    for settings in map(settings_of, contents):
        budget = settings.get("test_epsilon") or settings.get("epsilon")
        found.append([budget, *(settings.get(name) or None for name in _ON_PREDICTIONS)])
    return all(each == found[0] for each in found)

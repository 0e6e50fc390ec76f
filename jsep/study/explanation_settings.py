"""The explanation attack that a flat configuration describes, the same for a study and an evaluation."""

from typing import Any

from jsep import attack, evaluate, explain
from jsep.study.options import option_kinds, own_settings, parse_options

_PREFIX = "explanation_"


def method_options(method: str, texts: tuple[str, ...]) -> explain.Options:
    """The options of an explanation method. Raises: InputError for one that it does not have, naming those it has."""
    return tuple(parse_options(f"explanation method {method!r}", texts, explain.option_kinds(method)).items())


def explanation_attack(config: Any) -> evaluate.ExplanationAttackConfig:
    """The explanation attack of a FlatConfig with the fields explanation_*, map_reduce and map_normalize of a study.

    A field of the attack's own configuration takes the value of the flag "explanation_" + its name, where there is one,
    else that in explanation_attack_options, else its default. Raises: InputError for what does not fit.
    """
    kind = config.explanation_attack_kind
    own = attack.explanation_attack(kind).config
    known = option_kinds(own, config, _PREFIX)
    options = parse_options(f"explanation attack {kind!r}", config.explanation_attack_options, known)
    return evaluate.ExplanationAttackConfig(
        method=config.explanation_method,
        method_options=method_options(config.explanation_method, config.explanation_options),
        attacked_method=config.explanation_attacked_method,
        map_config=explain.MapConfig(config.map_reduce, config.map_normalize),
        epsilon=config.explanation_epsilon,
        norm=config.explanation_norm,
        attack=kind,
        settings=own_settings(own, config, options, _PREFIX),
        softmax_tolerance=config.explanation_softmax_tolerance,
    )

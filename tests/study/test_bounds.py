"""Every number of every configuration is bounded where it is declared, and refused by one line outside."""

import math
from typing import Any

import pytest

from jsep import study
from jsep.checks import InputError

KINDS = sorted(
    {kind.config for kind in study.STUDIES.values()} | {study.SweepConfig, study.RecipesConfig},
    key=lambda kind: kind.__name__,
)
ENOUGH: dict[str, dict[str, Any]] = {"EvaluationConfig": {"study_dirs": ("somewhere",)}}
"""What a configuration cannot do without."""

NUMBERS = [
    pytest.param(kind, each, id=f"{kind.__name__}-{each.name}")
    for kind in KINDS
    for each in study.settings_of(kind).values()
    if each.base in (int, float)
]


def refused(kind: type[study.Configuration], name: str, value: Any) -> str:
    with pytest.raises(InputError) as caught:
        kind.of(**ENOUGH.get(kind.__name__, {}) | {name: value})
    return str(caught.value)


@pytest.mark.parametrize(("kind", "each"), NUMBERS)
def test_number_outside_its_bounds_is_refused_by_one_line(kind: type[study.Configuration], each: Any) -> None:
    bounds = each.metadata["range"]
    low, high = (bounds[closed] if bounds[closed] is not None else bounds[open_]
                 for closed, open_ in (("minimum", "above"), ("maximum", "below")))  # fmt: skip
    assert low is not None, "no lower bound"
    assert high is not None, "no upper bound"
    assert -1e12 <= low < high <= 1e12
    whole = each.base is int
    below = low - 1 if whole else math.nextafter(low, -math.inf)
    outside = [below, high + 1 if whole else math.nextafter(high, math.inf)]
    outside += [value for value, name in ((low, "above"), (high, "below")) if bounds[name] is not None]
    outside += [10**400] if whole else [math.inf, -math.inf, math.nan, 10**400]
    for value in outside:
        message = refused(kind, each.name, value)
        assert message.startswith(f"{each.name} must be "), message
        assert "\n" not in message
        assert str(value) in message
    for value in ("3", True, [3]):
        assert refused(kind, each.name, value).startswith(f"{each.name} must be ")


def test_seeds_fit_numpy_and_their_last_one_too() -> None:
    assert study.StudyConfig.of(seed=2**32 - 3).seeds[-1] == 2**32 - 1
    assert "seed must be an integer <= 4294967295" in refused(study.StudyConfig, "seed", 2**32)
    with pytest.raises(InputError, match=r"seed \+ num_seeds must be at most"):
        study.StudyConfig.of(seed=2**32 - 3, num_seeds=4)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_lines_and_names_are_known(kind: type[study.Configuration]) -> None:
    for name, each in study.settings_of(kind).items():
        if each.base in (str, tuple):
            text = "two\nlines"
            message = refused(kind, name, (text,) if each.base is tuple else text)
            assert message == f"{name} must be text of one line, got {text!r}"
            if each.metadata["choices"] is not None:
                message = refused(kind, name, ("nonesuch",) if each.base is tuple else "nonesuch")
                assert message.startswith(f"unknown {name} 'nonesuch': expected one of ")
        elif each.base is bool:
            assert refused(kind, name, 1) == f"{name} must be true or false, got 1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ("sep_pos@1e300",)}, "the weight of a method must be a number > 0"),
        ({"methods": ("sep_pos@1_0",)}, "the weight of a method must be a number > 0"),
        ({"explanation_attack_options": ("num_starts=1_000",)}, "expected a whole number of at most 1000000000"),
        ({"explanation_attack_options": ("num_starts=10000000000",)}, "expected a whole number of at most 1000000000"),
        ({"explanation_method": "smooth_grad", "explanation_options": ("sigma=1e300",)}, "a number of at most 1e+12"),
        ({"explanation_method": "smooth_grad", "explanation_options": ("sigma=٣",)}, "a number of at most 1e+12"),
        ({"explanation_method": "smooth_grad", "explanation_options": ("sigma=nan",)}, "a number of at most 1e+12"),
    ],
)
def test_numbers_in_options_are_bounded_too(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("+", r"\+")):
        study.StudyConfig.of(**options)

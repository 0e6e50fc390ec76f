"""Configurations are nested in code and flat in flags and files."""

import dataclasses
import json
import pathlib
from typing import Any

import pytest

from jsep import study
from jsep.checks import InputError
from jsep.study.configuration import differences, with_new_names

RESULTS = pathlib.Path(__file__).parents[2] / "results"


@dataclasses.dataclass(frozen=True)
class Inner:
    width: int = study.count(3, "how wide")
    named: str = study.setting("a", "which", choices=("a", "b"), flag="letter")


@dataclasses.dataclass(frozen=True)
class Outer(study.Configuration):
    DROPPED = frozenset({"old"})

    left: Inner = study.group(Inner, "left_", about=" on the left", width=5)
    share: float = study.setting(0.5, "how much", minimum=0.0, maximum=1.0)


def test_settings_have_the_flat_names_defaults_and_helps_of_their_groups() -> None:
    known = study.settings_of(Outer)
    assert {name: each.default for name, each in known.items()} == {
        "experiment": "study", "left_width": 5, "letter": "a", "share": 0.5
    }  # fmt: skip
    assert known["left_width"].help == "how wide on the left"
    assert known["letter"].help == "which on the left: a, b"


def test_flat_values_make_read_and_change_a_configuration() -> None:
    made = Outer.of(left_width=7, share=0.25)
    assert made.left == Inner(7)
    assert made.replace(letter="b").left == Inner(7, "b")
    assert made.flat() == {"experiment": "study", "left_width": 7, "letter": "a", "share": 0.25}
    assert Outer.from_dict({**made.as_dict(), "old": 1}) == made
    assert differences({**made.as_dict(), "old": 1}, made) == []
    assert differences({"share": 0.25}, made) == ["left_width (5 there, 7 now)"]
    assert made.as_flagfile().splitlines() == ["--experiment=study", "--left_width=7", "--letter=a", "--share=0.25"]
    with pytest.raises(InputError, match="unknown setting of Outer 'left_widths'.*did you mean 'left_width'"):
        Outer.of(left_widths=3)


def test_two_settings_of_one_name_are_an_error_of_the_class() -> None:
    @dataclasses.dataclass(frozen=True)
    class Twice(study.Configuration):
        left: Inner = study.group(Inner)
        right: Inner = study.group(Inner)

    with pytest.raises(TypeError, match="two settings called width"):
        Twice.of()


def test_configurations_of_committed_results_are_those_of_today_under_their_old_names() -> None:
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*/result.json"))]
    assert len(results) > 20
    for result in results:
        kinds = [kind for kind in study.STUDIES.values() if kind.kind == result.get("kind", "study")]
        found = []
        for kind in kinds:
            known = study.settings_of(kind.config).keys()
            found.append(with_new_names(result["config"]).keys() - known - kind.config.DROPPED)
        assert set() in found, (result["experiment"], found)


@pytest.mark.parametrize("kind", study.STUDIES.values(), ids=study.STUDIES)
def test_every_kind_of_configuration_is_read_back_as_it_was_written(kind: study.StudyKind[Any, Any]) -> None:
    given: dict[str, Any] = {"study_dirs": ("somewhere",)} if "study_dirs" in study.settings_of(kind.config) else {}
    config = kind.config.of(**given, experiment="x")
    assert kind.config.from_dict(config.as_dict()) == config
    assert study.kind_of(config) is kind

"""Rows and results: what is read is what was written, also in the format before, and nothing is lost."""

import json
import pathlib

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from planted import planted_result

from jsep import evaluate, record
from jsep.checks import InputError

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = sorted((ROOT / "results").glob("*/result.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_every_committed_result_is_read_and_its_numbers_are_kept(path: pathlib.Path) -> None:
    content = json.loads(path.read_text())
    found = record.upgrade(content)
    assert found["format"] == record.FORMAT
    assert record.upgrade(found) == found
    assert "excess" not in json.dumps(found)
    for old, new in zip(content.get("rows", ()), found.get("rows", ()), strict=True):
        assert set(old) - {name for name in old if name.startswith("excess")} <= set(new)
        assert [v for v in old.values() if isinstance(v, float)] == [v for v in new.values() if isinstance(v, float)]


def test_a_row_keeps_every_number_and_every_unknown_field() -> None:
    result = planted_result(1e-5)
    old = result["rows"][0] | {"note": "kept", "a_metric_of_tomorrow": 3.0, "per_image": {
        "robust_accuracy": record.pack_correct(np.arange(10) < 7)}}  # fmt: skip
    row = record.Result.from_dict({**result, "rows": [old]}).rows[0]
    assert row.metrics["one_minus_concordance_end"] == old["excess_end"]
    assert row.other["note"] == "kept"
    assert row.other["a_metric_of_tomorrow"] == 3.0
    assert row.per_image["robust_accuracy"].sum() == 7
    again = record.Row.from_dict(json.loads(json.dumps(row.as_dict())))
    assert again.as_dict() == row.as_dict()


@hypothesis.given(st.lists(st.booleans(), max_size=70))
def test_correctness_of_images_is_packed_without_loss(correct: list[bool]) -> None:
    packed = record.pack_correct(np.array(correct, bool))
    row = record.Row.from_dict({"method": "mat", "per_image": {"clean_accuracy": json.loads(json.dumps(packed))}})
    assert row.per_image["clean_accuracy"].tolist() == correct


def test_baselines_of_the_format_before_follow_from_its_names() -> None:
    names = ("standard", "mat", "sep_pos", "sep_neg", "trades@1", "trades_sep_pos", "mat_lga@0.3")
    content = {"format": 1, "rows": [{"method": name, "seed": 0} for name in names]}
    found = {row.method: (row.baseline, row.adversarial) for row in record.Result.from_dict(content).rows}
    assert found == {
        "standard": (None, False), "mat": (None, True), "sep_pos": ("mat", True), "sep_neg": ("mat", True),
        "trades@1": (None, True), "trades_sep_pos": ("trades", True), "mat_lga@0.3": ("mat", True),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "expected a JSON object, got list"),
        ({"format": 3}, "expected format 2 or an older one, got 3"),
        ({"format": 2, "rows": [{"seed": 0}]}, "expected a row with a string 'method'"),
        ({"format": 2, "rows": [{"method": "mat", "per_image": {"clean_accuracy": {"hex": "0", "num_images": 4}}}]},
         "correctness of single images cannot be read"),
        ({"format": 2, "rows": [{"method": "mat", "per_image": {"clean_accuracy": {"hex": "00", "num_images": 9}}}]},
         "expected 9 images, got 8"),
    ],
)  # fmt: skip
def test_bad_content_is_an_input_error_of_one_line(content: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        record.Result.from_dict(content)  # type: ignore[arg-type]


def test_degraded_rule() -> None:
    assert record.is_degraded(0.9299, 0.98)
    assert not record.is_degraded(0.94, 0.98)
    assert not record.is_degraded(0.99, 0.98)
    assert record.is_degraded(0.94, 0.98, margin=0.03)


def test_every_metric_says_its_unit_and_direction() -> None:
    for name, metric in evaluate.METRICS.items():
        assert metric.name == name
        assert metric.heading
        assert metric.meaning.endswith(".")
        assert metric.better in (-1, 0, 1)
        assert metric.group in evaluate.GROUPS
    for outcome in record.OUTCOMES:
        assert evaluate.METRICS[outcome].better, "an outcome has a direction that is more robust"


def test_intervals_draw_seeds_and_images_and_one_seed_its_images() -> None:
    result = record.Result.from_dict(planted_result(1e-5, noise=1e-5))
    found = record.intervals(result)["explanation_loss_end"]["mat"]
    mean = np.mean([row.metrics["explanation_loss_end"] for row in result.rows_of("mat").values()])
    assert found.estimate == pytest.approx(mean)
    assert found.low < mean < found.high
    one = record.Result.from_dict(planted_result(1e-5, num_seeds=1))
    assert np.isfinite(record.intervals(one)["explanation_loss_end"]["mat"]).all()
    assert np.isnan(record.intervals(one)["clean_accuracy"]["mat"][1:]).all()


def test_numbers_of_numpy_become_numbers_of_python() -> None:
    row = record.Row("mat", seed=np.int64(3), sep_weight=np.float32(0.5), metrics={"clean_accuracy": np.float64(0.25)})
    stored = json.loads(json.dumps(row.as_dict()))
    assert (stored["seed"], stored["sep_weight"], stored["clean_accuracy"]) == (3, 0.5, 0.25)

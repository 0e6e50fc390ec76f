"""The rule for degraded models."""

import json
import pathlib

from jsep.study.methods import mark_degraded

RESULTS = pathlib.Path(__file__).parents[2] / "results"


def test_model_more_than_five_points_below_mat_is_degraded():
    rows = [
        {"method": method, "seed": seed, "clean_accuracy": accuracy}
        for method, seed, accuracy in (
            ("mat", 0, 0.9),
            ("sep_neg", 0, 0.849),
            ("sep_pos", 0, 0.851),
            ("sep_neg", 1, 0.1),
        )
    ]
    mark_degraded(rows)
    # One whose seed mat does not have is compared with mat's mean.
    assert [row["degraded"] for row in rows] == [False, True, False, True]


def test_committed_studies_keep_their_marks_of_degraded_models():
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*/result.json"))]
    studies = [result["rows"] for result in results if result.get("kind", "study") == "study"]
    assert len(studies) > 10
    for rows in studies:
        marks = [row["degraded"] for row in rows]
        mark_degraded(rows)
        # Maps that shrink to a few pixels did not count when these were made.
        kept = [place for place, row in enumerate(rows) if row.get("collapsed_step") is None]
        assert [rows[place]["degraded"] for place in kept] == [marks[place] for place in kept]


def test_degraded_rule_goes_by_the_named_reference_and_its_seeds() -> None:
    accuracies = [("a", 0, 0.9), ("a", 1, 0.8), ("b", 0, 0.86), ("b", 1, 0.76), ("imported", 7, 0.79), ("c", 0, 0.84)]
    rows = [{"method": m, "seed": s, "clean_accuracy": clean} for m, s, clean in accuracies]
    methods = {row["method"] for row in rows}
    mark_degraded(rows, dict.fromkeys(methods, "a"))
    assert [row["degraded"] for row in rows] == [False, False, False, False, True, True]
    mark_degraded(rows, dict.fromkeys(methods, "c"))
    assert [row["degraded"] for row in rows] == [False, False, False, True, False, False]
    mark_degraded(rows, dict.fromkeys(methods))
    assert not any(row["degraded"] for row in rows)

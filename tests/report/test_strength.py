"""The table of attacks on predictions says what the rows say."""

from jsep import report


def test_strength_table_shows_every_row_the_stages_the_agreement_and_the_raised_checks() -> None:
    checks = [
        {"name": "zero_gradients", "raised": True, "sentence": "The gradient is exactly zero at 3 images."},
        {"name": "probabilities", "raised": False, "sentence": "Not shown."},
    ]
    result = {
        "kind": "attack_strength",
        "experiment": "made_up",
        "num_images": 40,
        "config": {
            "norm": "linf", "epsilon": 8 / 255, "num_steps": 10, "num_targets": 2, "num_queries": 30, "chunk_size": 5,
        },
        "rows": [
            {"model": "mat_seed0", "attack": "pgd", "by": "jsep", "robust_accuracy": 0.5, "seconds": 2.0},
            {
                "model": "mat_seed0", "attack": "pgd", "by": "foolbox", "robust_accuracy": 0.525, "agreement": 0.975,
                "seconds": 3.04,
            },
            {
                "model": "mat_seed0", "attack": "ensemble", "by": "jsep", "robust_accuracy": 0.4, "seconds": 9.0,
                "accuracy_after": {"clean": 0.8, "apgd-ce": 0.45, "square": 0.4}, "checks": checks,
            },
        ],
        "timings": [
            {
                "model": "mat_seed0", "num_images": 4, "attack": "apgd-ce", "num_steps": 10,
                "seconds": {"jsep": 2.0, "autoattack": 5.0},
            }
        ],
    }  # fmt: skip
    table = report.format_table(result, style="markdown")
    for line in (
        "| MAT, seed 0 | pgd | foolbox | 52.5 | 97.5 | 3.0 |",
        "| MAT, seed 0 | clean | jsep | 80.0 |  |  |",
        "| MAT, seed 0 | ensemble after apgd-ce | jsep | 45.0 |  |  |",
        "| MAT, seed 0 | ensemble | jsep | 40.0 |  | 9.0 |",
        "linf budget 8/255",
        "jsep 2.0 s, autoattack 5.0 s (2.50 times as long).",
        "MAT, seed 0: The gradient is exactly zero at 3 images.",
    ):
        assert line in table
    assert "Not shown" not in table
    widths = {line.count("|") for line in table.splitlines() if line.startswith("|")}
    assert widths == {7}

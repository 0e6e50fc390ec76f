"""The table of a study in two precisions."""

from jsep import report

NUMBERS = {
    "robust_accuracy": 0.5, "explanation_loss_start": 2e-6, "explanation_loss_end": 1e-6, "relative_reduction": 0.5,
    "effective_pixels": 20.0, "noise_sensitivity": 0.1, "train_seconds": 3.0,
}  # fmt: skip


def row(precision, seed, clean):
    return {"method": "mat", "precision": precision, "seed": seed, "clean_accuracy": clean, **NUMBERS}


def result(*rows):
    config = {"dataset": "digits", "model": "convnet", "epochs": 3}
    return {"kind": "precision", "num_pixels": 64, "experiment": "both", "config": config, "rows": list(rows)}


def test_difference_is_seed_by_seed_with_its_range_beside_that_of_float32():
    rows = [("float32", 0, 0.90), ("float32", 1, 0.94), ("bfloat16", 1, 0.95), ("bfloat16", 0, 0.89)]
    text = report.format_table(result(*(row(*each) for each in rows)), style="markdown")
    assert "| MAT | clean acc. [%] | 92.0 | 92.0 | +0.0 (−1.0 to +1.0) | 90.0 to 94.0 |" in text
    assert "| MAT | loss at start [N²·MSE] | 0.008 | 0.008 | +0.000 (+0.000 to +0.000) | 0.008 to 0.008 |" in text
    assert "both: digits, convnet, 3 epochs, 2 seeds." in text


def test_one_seed_has_no_range():
    text = report.format_table(result(row("float32", 0, 0.9), row("bfloat16", 0, 0.88)), style="markdown")
    assert "| MAT | clean acc. [%] | 90.0 | 88.0 | −2.0 | – |" in text
    assert "1 seed." in text

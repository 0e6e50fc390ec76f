"""The table of hyper-parameters, from configurations alone."""

import pytest

from jsep import report
from jsep.report.settings import fraction

CONFIG = {
    "dataset": "mnist", "model": "convnet", "train_images": 0, "test_images": 200, "num_seeds": 3, "epochs": 5,
    "batch_size": 50, "optimizer": "adamw", "learning_rate": 0.001, "schedule": "constant", "weight_decay": 0.0,
    "norm": "linf", "epsilon": 8 / 255, "alpha": 0.05, "num_steps": 3, "test_alpha": 0.025, "test_num_steps": 10,
    "methods": ["mat", "sep_pos", "sep_neg"], "sep_weight_pos": 0.7, "sep_weight_neg": -0.07,
    "sep_weight_unit": "scale_free", "sep_noise": "gaussian", "sep_noise_scale": 0.1,
    "explanation_method": "gradient_x_input", "explanation_epsilon": None, "explanation_num_steps": 30,
    "explanation_learning_rate": 0.003, "explanation_map_weight": 1e6, "explanation_output_weight": 1.0,
    "num_pairs": 24, "num_clusters": 10,
}  # fmt: skip
ROWS = [{"method": "mat", "explanation_loss_end": 2e-4, "scale_free_loss_end": 2e-4 * 100**2}]


def cells_of(result: dict) -> dict[str, str]:
    table = report.settings_table({"one": result, "two": {"kind": "selection", "config": {"num_pairs": 3}}})
    assert table is not None
    assert len(table.rows) == 2, "the paper's and one: a run that trained nothing has no row"
    return {column.heading: cell.text for column, cell in zip(table.columns, table.rows[1], strict=True)}


def test_a_run_has_its_settings_in_both_units_of_the_weight() -> None:
    cells = cells_of({"config": CONFIG, "rows": ROWS})
    assert cells["run"] == "one"
    assert cells["SEP weights, of N²·MSE"] == "+0.7, −0.07"
    assert cells["SEP weights, of MSE"] == "+7000, −700"
    assert cells["training images"] == "all"
    assert cells["PGD, steps × size"] == "linf 8/255: 3 × 0.05; tests 10 × 0.025"
    assert cells["attack on it, steps × size"] == "30 × 0.003, weights 1e+06 : 1, no budget"
    assert cells["pairs (clusters)"] == "24 (10)"


def test_a_run_without_sep_has_no_weights() -> None:
    cells = cells_of({"config": CONFIG | {"methods": ["mat"], "test_epsilon": 0.1}, "rows": ROWS})
    assert cells["SEP weights, of MSE"] == cells["SEP noise"] == "–"
    assert cells["PGD, steps × size"].endswith("inside 0.1")


@pytest.mark.parametrize(
    ("value", "text"), [(8 / 255, "8/255"), (0.1, "0.1"), (2 / 255, "2/255"), (0.0, "0"), (1.0, "1")]
)
def test_fractions_of_255_are_written_as_such(value: float, text: str) -> None:
    assert fraction(value) == text


def test_results_that_trained_nothing_have_no_table() -> None:
    assert report.settings_table({"two": {"kind": "selection", "config": {"num_pairs": 3}}}) is None

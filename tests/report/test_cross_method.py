"""Table and matrix of models by explanation methods."""

import json

from jsep import record, report


def make_result(explanations: tuple[str, ...] = ("gradient_x_input",), swap: bool = False) -> dict:
    rows = []
    for trained_with in explanations:
        for place, model in enumerate(("mat", "sep_pos", "sep_neg")):
            for seed in range(4):
                for method in ("gradient", "lrp_epsilon"):
                    end = 7e-4 + {"mat": 0, "sep_pos": -1e-4, "sep_neg": 1e-4}[model] * (-1 if swap else 1)
                    rows.append(
                        {
                            "trained_with": trained_with, "method": model, "seed": seed, "explained_by": method,
                            "sep_weight": float({"mat": 0, "sep_pos": 10, "sep_neg": -1}[model]),
                            "explanation_loss_start": 1e-3, "explanation_loss_end": end + 1e-6 * (2 * (seed % 2) - 1),
                            "relative_reduction": 1 - end / 1e-3, "excess_end": 0.6 + 0.01 * place,
                        }
                    )  # fmt: skip
    return record.upgrade({"format": 1, "kind": "cross_method", "num_pixels": 64, "rows": rows})


def markdown(result: dict) -> str:
    return report.format_table(result, style="markdown")


def test_table_shows_means_over_seeds_and_the_finding_over_all_methods() -> None:
    table = markdown(make_result())
    assert "| explained by | MAT | SEP +, flattened (Gradient x Input) | SEP −, sharpened (Gradient x Input) |" in table
    assert (
        "| Gradient | 4.10 → 2.87 (−30 %, 0.600) | 4.10 → 2.46 (−40 %, 0.610) | 4.10 → 3.28 (−20 %, 0.620) |" in table
    )
    assert f"Trained with Gradient x Input, SEP + < SEP − with every method: {record.HOLDS} (" in table
    assert f"with every method: {record.FAILS} (" in markdown(make_result(swap=True))


def test_no_finding_where_there_is_no_pair_of_methods() -> None:
    whole = make_result()
    only = {**whole, "rows": [row for row in whole["rows"] if row["method"] != "sep_neg"]}
    assert "with every method" not in markdown(only)


def test_every_training_explanation_has_its_own_finding_without_degraded_models() -> None:
    result = make_result(("gradient_x_input", "lrp_epsilon"))
    for row in result["rows"]:
        row["degraded"] = (row["trained_with"], row["method"]) == ("lrp_epsilon", "sep_neg")
    table = markdown(result)
    assert f"Trained with Gradient x Input, SEP + < SEP − with every method: {record.HOLDS}" in table
    assert f"Trained with LRP epsilon, SEP + < SEP − with every method: {record.UNKNOWN}" in table
    assert "4 of 4 seeds left out: degraded" in table
    assert "| SEP −, sharpened (LRP epsilon) \\* |" in table


def test_figure_is_written(tmp_path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(make_result()))
    page = report.write(tmp_path)
    assert 5_000 < (tmp_path / "cross.png").stat().st_size < 400 * 1024
    assert 'class="chart"' in page.read_text()

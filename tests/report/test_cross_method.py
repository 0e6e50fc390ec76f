"""Table and matrix of models by explanation methods."""

from jsep import report


def make_result(swap: bool = False) -> dict:
    rows = []
    for place, model in enumerate(("mat", "sep_pos", "sep_neg")):
        for seed in range(2):
            for method in ("gradient", "lrp_epsilon"):
                end = {"mat": 7e-4, "sep_pos": 6e-4, "sep_neg": 8e-4}[model] + 1e-5 * (2 * seed - 1)
                rows.append(
                    {
                        "trained_with": "gradient_x_input", "method": model, "seed": seed, "explained_by": method,
                        "explanation_loss_start": 1e-3, "explanation_loss_end": end,
                        "relative_reduction": 1 - end / 1e-3,
                        "excess_end": 0.6 + 0.01 * place * (-1 if swap else 1),
                    }
                )  # fmt: skip
    return {"rows": rows}


def test_table_shows_means_over_seeds_and_counts_the_orders() -> None:
    table = report.cross_method_table(make_result())
    assert "| explained by | mat | sep_pos (gradient_x_input) | sep_neg (gradient_x_input) |" in table
    assert (
        "| gradient | 10000 → 7000 (−30 %, 0.600) | 10000 → 6000 (−40 %, 0.610) | 10000 → 8000 (−20 %, 0.620) |"
        in table
    )
    assert "Trained with gradient_x_input, sep_pos ends below sep_neg" in table
    assert "for 2 of 2 methods by the loss and for 2 by loss / chance" in table
    assert "for 2 of 2 methods by the loss and for 0 by loss / chance" in report.cross_method_table(
        make_result(swap=True)
    )


def test_order_is_left_out_where_there_is_no_pair_of_methods() -> None:
    only = {"rows": [row for row in make_result()["rows"] if row["method"] != "sep_neg"]}
    assert "the paper's order" not in report.cross_method_table(only)


def test_every_training_explanation_has_its_own_order_without_degraded_models() -> None:
    first = make_result()
    rows = [row for row in make_result(swap=True)["rows"] if row["method"] != "mat"]
    second = [row | {"trained_with": "lrp_epsilon"} for row in rows]
    table = report.cross_method_table({"rows": [*first["rows"], *second]})
    assert "Trained with gradient_x_input, sep_pos ends below sep_neg" in table
    assert "Trained with lrp_epsilon, sep_pos ends below sep_neg" in table
    assert "| sep_neg (lrp_epsilon) |" in table
    broken = [row | {"degraded": row["method"] == "sep_neg"} for row in second]
    table = report.cross_method_table({"rows": [*first["rows"], *broken]})
    assert "| sep_neg (lrp_epsilon) \\* |" in table
    assert "Trained with lrp_epsilon: sep_neg degraded, so there is no order to judge." in table
    assert "5 points below MAT" in table


def test_figure_is_written(tmp_path) -> None:
    path = report.write_cross_method(tmp_path, make_result())
    assert path.name == "cross.png"
    assert 5_000 < path.stat().st_size < 400 * 1024

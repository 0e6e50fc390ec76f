"""Tables and figures of a selection study."""

import numpy as np

from jsep import report
from jsep.report.selection import losses_of_clusters


def make_result() -> dict:
    methods, counts = ["mat", "sep_neg"], [10, 20]
    entry = {
        "selection": "kmeans", "num_draws": 3, "num_pairs": 30, "mean": {"mat": 8e-4, "sep_neg": 9e-4},
        "std_of_draws": {"mat": 2e-5, "sep_neg": 3e-5}, "standard_error": {"mat": 4e-5, "sep_neg": 5e-5},
        "standard_errors": {"mat": [0.1, 0.07], "sep_neg": [0.12, 0.08]}, "order": methods, "draws_in_order": 2 / 3,
        "same_order": [0.6, 0.8], "mean_tau": 0.33,
    }  # fmt: skip
    other = {**entry, "selection": "random", "order": methods[::-1]}
    cluster = {
        "feature_network": "pixels", "num_clusters": 5, "selection": "spectral", "model": "mat_seed0", "agreement": 0.4,
        "loss_intra": 8e-4, "loss_intra_std": 1e-4, "loss_inter": 1e-3, "ratio": 1.25,
    }  # fmt: skip
    summary = {"methods": methods, "counts": counts, "selections": [entry, other]}
    return {"summary": summary, "clusterings": [cluster]}


def test_tables_show_the_numbers_and_say_whether_the_order_changes() -> None:
    table = report.selection_table(make_result())
    assert "| kmeans | 8000 ± 200 (400) | 9000 ± 300 (500) | mat < sep_neg | 67 | 0.33 |" in table
    assert "The 2 rules give 2 different orders of the models." in table
    assert "| pixels | 5 | spectral | 0.40 | 10000 / 8000 ± 1000 = 1.25 |" in table
    same = make_result()
    same["summary"]["selections"][1]["order"] = ["mat", "sep_neg"]
    assert "All rules give the same order of the models." in report.selection_table(same)


def test_figures_are_written_whole(tmp_path) -> None:
    images = np.random.default_rng(0).uniform(size=(3, 4, 8, 8, 1)).astype(np.float32)
    maps = images[..., 0] / images.sum((2, 3, 4), keepdims=True)[..., 0]
    for path in report.write_selection(tmp_path, make_result(), images, maps, "mat_seed0"):
        assert 5_000 < path.stat().st_size < 400 * 1024
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clusters.png", "draws.png"]


def test_losses_of_clusters_leave_out_a_map_itself() -> None:
    one, other = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])  # their loss is 1
    within, between = losses_of_clusters(np.array([[one, one, other], [other, other, other]]))
    np.testing.assert_allclose(within, [[0.5, 0.5, 1.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(between, [[1.0, 1.0, 0.0], [2 / 3, 2 / 3, 2 / 3]])
    alone, _ = losses_of_clusters(np.array([[one], [other]]))
    assert np.isnan(alone).all()

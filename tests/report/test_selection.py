"""Tables and figures of a selection study."""

import json

import numpy as np

from jsep import report


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
    return {"format": 2, "kind": "selection", "num_pixels": 64, "summary": summary, "clusterings": [cluster]}


def test_tables_show_the_numbers_and_no_order_of_means() -> None:
    table = report.format_table(make_result(), style="markdown")
    assert "| kmeans | 3.28 ± 0.082 (0.164) | 3.69 ± 0.123 (0.205) | 67 | 0.33 |" in table
    assert " < " not in table
    assert "| pixels | 5 | spectral | 0.40 | 4.10 / 3.28 ± 0.410 = 1.25 |" in table


def test_figures_are_those_that_the_files_allow(tmp_path) -> None:
    images = np.random.default_rng(0).uniform(size=(3, 4, 8, 8, 1)).astype(np.float32)
    maps = images[..., 0] / images.sum((2, 3, 4), keepdims=True)[..., 0]
    (tmp_path / "result.json").write_text(json.dumps(make_result()))
    report.write(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["draws.png"]
    np.savez(tmp_path / "maps.npz", images=images, maps=maps, model=np.array("mat_seed0"))
    report.write(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["clusters.png", "draws.png"]
    for path in tmp_path.glob("*.png"):
        assert 5_000 < path.stat().st_size < 400 * 1024

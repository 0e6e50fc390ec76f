"""The tables, figures and page of a landscape analysis, from files alone."""

import json
import re

import numpy as np
import pytest

from jsep import report
from jsep.checks import InputError
from jsep.report import landscape, landscape_figures, landscape_page

METHODS = ("standard", "mat")
SCALARS = {
    "cross_entropy": ["rademacher", "gradient_sign", "attack", "eigenvector", "to_image"],
    "explanation_to_own": ["rademacher", "attack", "eigenvector", "to_image"],
}
PREDICTORS = ("explanation_loss_start", "effective_pixels", "map/local_lipschitz", "explanation_to_own/trace")
NUMBERS = (
    "top_eigenvalue", "trace", "frobenius_norm", "average_sharpness", "worst_sharpness"
)  # fmt: skip


def make_result(num_seeds=2):
    rng = np.random.default_rng(0)

    def entry(scale=1.0):
        return {"mean": scale * rng.uniform(1, 2), "standard_error": scale * 0.1, "median": scale, "num_finite": 6}

    rows = []
    for seed in range(num_seeds):
        for method in METHODS:
            numbers = {f"{scalar}/{name}": entry(1e-6) for scalar in SCALARS for name in NUMBERS}
            numbers |= {f"map/{name}": entry() for name in
                        ("jacobian_spectral_norm", "jacobian_frobenius_norm", "local_lipschitz")}  # fmt: skip
            numbers |= {name: entry(1e-6) for name in ("explanation_loss_start", "explanation_loss_end")}
            numbers["relative_reduction"] = entry(0.2)
            rows.append({
                "method": method, "seed": seed, "clean_accuracy": 0.5, "robust_accuracy": 0.2, "numbers": numbers,
                "num_non_finite": 1, "share_outside": 0.04, "seconds": 1.0,
            })  # fmt: skip
    correlations = [
        {"predictor": p, "outcome": o, "level": level, "rho": -0.25, "low": -0.5, "high": 0.1}
        for p in PREDICTORS for o in landscape.OUTCOME_NAMES for level in ("images", "models")
    ]  # fmt: skip
    return {
        "format": 1, "kind": "landscape", "experiment": "landscape <test>", "num_images": 6, "epsilon": 8 / 255,
        "norm": "linf", "directions": SCALARS, "rows": rows, "correlations": correlations,
        "config": {"num_directions": 3, "extent": 2.0, "outside": "clip", "plane_images": 2, "spectrum_probes": 1},
        "study": {"dataset": "cifar10", "model": "convnet"}, "environment": {"command": "python <script>"},
    }  # fmt: skip


def make_arrays():
    rng = np.random.default_rng(1)
    arrays = {"coordinates": np.linspace(-2, 2, 9), "plane_coordinates": np.linspace(-2, 2, 5)}
    for method in METHODS:
        for scalar, names in SCALARS.items():
            lines = rng.uniform(size=(6, 3 + len(names) - 1, 9)) * 1e-6
            lines[0, 0, 0] = np.nan
            plane = rng.uniform(size=(5, 5)) * 1e-6
            plane[0, 0] = np.inf
            arrays |= {
                f"{method}/{scalar}/lines": lines, f"{method}/{scalar}/plane": plane,
                f"{method}/{scalar}/spectrum_nodes": rng.normal(size=(6, 1, 4)) * 1e-5,
                f"{method}/{scalar}/spectrum_weights": np.full((6, 1, 4), 0.25),
            }  # fmt: skip
    return arrays


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("landscape")
    (path / "result.json").write_text(json.dumps(make_result()))
    np.savez_compressed(path / "maps.npz", **make_arrays())
    report.write_landscape(path)
    return path


def test_page_holds_every_picture_and_loads_nothing(run_dir):
    page = (run_dir / "index.html").read_text()
    names = {path.name for path in run_dir.glob("*.png")}
    assert names == {
        "slices_cross_entropy.png", "slices_explanation_to_own.png", "plane_cross_entropy.png",
        "plane_explanation_to_own.png", "spectra.png", "curvature.png", "correlations.png",
    }  # fmt: skip
    assert page.count("data:image/png;base64,") == 7
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
    assert "landscape &lt;test&gt;" in page
    assert "landscape <test>" not in page


def test_surface_data_are_the_plane_with_holes_where_it_is_not_finite(run_dir):
    page = (run_dir / "index.html").read_text()
    text = re.search(r'id="surface-data">(.*?)</script>', page, re.DOTALL).group(1)
    data = json.loads(text)
    chosen = data["functions"]["explanation loss to the own map"]
    assert chosen["unit"] == "1e-7"
    assert chosen["surfaces"]["mat"][0][0] is None
    expected = 1e7 * make_arrays()["mat/explanation_to_own/plane"]
    np.testing.assert_allclose(np.array(chosen["surfaces"]["mat"][2], float), expected[2], rtol=1e-4)


def test_caption_states_directions_normalisation_extent_and_what_is_masked():
    caption = landscape.describe_slices(make_result())
    for part in ("linf size epsilon = 8/255", "to ±2", "outside [0, 1] are clipped", "up to 4 %", "4 values were not"):
        assert part in caption


def test_numbers_are_means_over_seeds_with_their_deviation():
    result = make_result()
    values = [row["numbers"]["map/local_lipschitz"]["mean"] for row in result["rows"] if row["method"] == "mat"]
    found = landscape.number(result, "mat", "map/local_lipschitz")
    assert found.mean == pytest.approx(np.mean(values))
    assert found.error == pytest.approx(np.std(values, ddof=1))
    single = landscape.number(make_result(num_seeds=1), "mat", "map/local_lipschitz")
    assert single.error == pytest.approx(0.1)
    assert landscape.number(result, "mat", "nothing") is None


def test_lines_of_a_direction_are_those_of_its_place():
    arrays = make_arrays()
    lines = landscape_figures._lines_of(make_result(), arrays, "mat", "cross_entropy", "attack")
    np.testing.assert_array_equal(lines, arrays["mat/cross_entropy/lines"][:, 4])
    random = landscape_figures._lines_of(make_result(), arrays, "mat", "cross_entropy", "rademacher")
    assert random.shape == (18, 9)


def test_table_has_a_row_for_each_method_function_and_predictor():
    text = report.landscape_table(make_result())
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == (1 + 2) + (1 + 4 + 6) + (1 + 4)
    assert "−0.25 [−0.50, +0.10]" in text
    assert "standard deviation over 2 seeds" in text
    without = {**make_result(num_seeds=1), "correlations": []}
    assert "Spearman" not in report.landscape_table(without)
    assert landscape_figures.correlations(without) is None


def test_directory_without_an_analysis_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="holds no landscape analysis that can be read"):
        landscape_page.write_landscape(tmp_path)

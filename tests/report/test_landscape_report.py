"""The tables, figures and page of a landscape analysis, from files alone."""

import json
import re

import numpy as np
import pytest
from landscape_runs import make_arrays, make_result, write

from jsep import report
from jsep.checks import InputError
from jsep.report import landscape, landscape_figures, landscape_page


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("landscape"))
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
    (data,) = json.loads(text)
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


def _surfaces(page):
    return json.loads(re.search(r'id="surface-data">(.*?)</script>', page, re.DOTALL).group(1))


def test_comparison_of_landscapes_has_the_surfaces_slices_and_numbers_of_every_run(tmp_path):
    config = {**make_result()["config"], "extent": 3.0}
    runs = [write(tmp_path / "one"), write(tmp_path / "two", seed=2, config=config)]
    page = report.write_comparison(runs, tmp_path / "both.html").read_text()
    panels = _surfaces(page)
    assert [panel["label"] for panel in panels] == ["one", "two"]
    for panel, seed in zip(panels, (1, 2), strict=True):
        expected = 1e7 * make_arrays(seed)["mat/explanation_to_own/plane"]
        found = panel["functions"]["explanation loss to the own map"]["surfaces"]["mat"]
        np.testing.assert_allclose(np.array(found[2], float), expected[2], rtol=1e-4)
    # A picture of the slices for each function and run, and each method's row of one run under that of the other.
    assert page.count("data:image/png;base64,") == 2 * 2
    rows = re.findall(r'<tr><th scope="row">(standard|mat)</th><td>(one|two)</td>', page)
    assert rows == [("standard", "one"), ("standard", "two"), ("mat", "one"), ("mat", "two")]
    differ = page.split('<section id="settings">')[1].split("<details>")[0]
    assert "extent" in differ
    assert "plane_images" not in differ


def test_landscapes_compare_with_landscapes_on_the_same_data_alone(tmp_path, write_run):
    one = write(tmp_path / "one")
    other = write(tmp_path / "two", study={"dataset": "digits", "model": "convnet"})
    study_run = write_run(tmp_path / "three")
    for runs, message in [
        ([one, other], "one data set, got cifar10 in .*one, digits in .*two"),
        ([one, study_run], "runs of one kind, got a landscape in .*one, a study in .*three"),
        ([one, write(tmp_path / "four", kind="selection")], "kind 'selection'; only those of study or landscape"),
    ]:
        with pytest.raises(InputError, match=message):
            report.write_comparison(runs, tmp_path / "both.html")
    assert not (tmp_path / "both.html").exists()

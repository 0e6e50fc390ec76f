"""The tables, figures and page of a landscape analysis, from files alone."""

import re

import numpy as np
import pytest
from landscape_runs import make_arrays, make_result, write

from jsep import record, report
from jsep.checks import InputError
from jsep.record.landscape import landscape_lines, spectral_shares
from jsep.report import landscape, landscape_figures


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("landscape"))
    report.write(path)
    return path


def test_page_holds_every_picture_and_loads_nothing(run_dir):
    page = (run_dir / "index.html").read_text()
    names = {path.name for path in run_dir.glob("*.png")}
    assert names == {
        "slices_cross_entropy.png", "slices_explanation_to_own.png",
        "plane_explanation_to_own.png", "spectra.png", "curvature.png", "correlations.png",
    }  # fmt: skip
    assert page.count('class="chart"') == len(names)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
    assert "landscape &lt;test&gt;" in page
    assert "landscape <test>" not in page


def test_page_and_markdown_lead_with_the_verdicts_of_the_engine(run_dir):
    page = (run_dir / "index.html").read_text()
    said = report.answer(make_result()).headline
    assert said.startswith("This run cannot tell (2 seeds: others may differ) whether adversarial training flattens")
    first = page.split('<section id="answer">')[1].split("</section>")[0]
    assert said in " ".join(re.sub(r"<[^>]+>", "", first).split())
    assert page.index('<section id="answer">') < page.index('<section id="pictures">')
    assert (
        "Of these models alone, over other images: flatter classification loss, worst rise in the ball, MAT / s"
        in first
    )
    assert report.format_table(make_result(), style="markdown").split("\n\n")[-1] == said


def test_planes_are_drawn_with_holes_where_they_are_not_finite():
    found = landscape_figures.plane_figure(make_result(), make_arrays(), "explanation_to_own")
    assert [axes.get_title(loc="left") or axes.get_title() for axes in found.figure.axes[:2]] == ["standard", "MAT"]
    assert "N²·MSE" in found.figure.axes[2].get_ylabel()
    assert "MAT" in found.alt


def test_an_analysis_without_arrays_has_the_figures_of_its_numbers(tmp_path):
    path = write(tmp_path)
    (path / "maps.npz").unlink()
    report.write(path)
    assert {png.stem for png in path.glob("*.png")} == {"curvature", "correlations"}


def test_caption_states_directions_normalisation_extent_and_what_is_masked():
    caption = landscape.describe_slices(make_result())
    for part in ("linf size epsilon = 8/255", "to ±2", "outside [0, 1] are clipped", "up to 4 %", "4 values were not"):
        assert part in caption


def test_numbers_are_means_over_seeds_with_their_deviation():
    result = make_result()
    values = [row["numbers"]["map/local_lipschitz"]["mean"] for row in result["rows"] if row["method"] == "mat"]
    found = record.landscape_number(result, "mat", "map/local_lipschitz")
    assert found.mean == pytest.approx(np.mean(values))
    assert found.error == pytest.approx(np.std(values, ddof=1))
    single = record.landscape_number(make_result(num_seeds=1), "mat", "map/local_lipschitz")
    assert single.error == pytest.approx(0.1)
    assert record.landscape_number(result, "mat", "nothing") is None


def test_lines_of_a_direction_are_those_of_its_place():
    arrays = make_arrays()
    lines = landscape_lines(make_result(), arrays, "mat", "cross_entropy", "attack")
    np.testing.assert_array_equal(lines, arrays["mat/cross_entropy/lines"][:, 4])
    random = landscape_lines(make_result(), arrays, "mat", "cross_entropy", "rademacher")
    assert random.shape == (18, 9)


def test_table_has_a_row_for_each_method_function_and_predictor():
    text = report.format_table(make_result(), style="markdown")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == (1 + 2) + (1 + 4 + 6) + (1 + 4) + (1 + 4)
    assert "−0.25 [−0.50, +0.10]" in text
    assert "standard deviation over 2 seeds" in text
    without = {**make_result(num_seeds=1), "correlations": []}
    assert "Spearman" not in report.format_table(without, style="markdown")
    assert "correlations" not in [found.name for found in landscape_figures.landscape_figures(without, make_arrays())]


def test_directory_without_an_analysis_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="readable result.json"):
        report.write(tmp_path)
    first, second = write(tmp_path / "one"), write(tmp_path / "two")
    (second / "maps.npz").unlink()
    with pytest.raises(InputError, match="two holds no landscape analysis that can be read"):
        report.write_comparison([first, second], tmp_path / "both.html")


def test_comparison_of_landscapes_has_the_slices_planes_and_numbers_of_every_run(tmp_path):
    config = {**make_result()["config"], "extent": 3.0}
    runs = [write(tmp_path / "one"), write(tmp_path / "two", seed=2, config=config)]
    page = report.write_comparison(runs, tmp_path / "both.html").read_text()
    # Slices of both functions and the plane of one for each run; rows of one method stand one below the other.
    assert page.count('class="chart"') == (2 + 1) * 2
    words = " ".join(re.sub(r"<[^>]+>", " ", page.split('<section id="numbers">')[1]).split())
    places = [words.index(f" {method} {run} ") for method in ("standard", "MAT") for run in ("one", "two")]
    assert places == sorted(places)
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


def test_a_spectrum_is_shared_out_among_its_bins():
    nodes, weights = np.array([-1.5, 0.5, 0.5, np.nan]), np.array([1.0, 2.0, 1.0, 5.0])
    np.testing.assert_allclose(spectral_shares(nodes, weights, np.array([-2.0, 0.0, 1.0, 2.0])), [0.25, 0.75, 0.0])

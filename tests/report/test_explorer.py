"""The data of the gallery, as a page decodes them, and the charts."""

import base64
import json

import numpy as np
import pytest

from jsep.record import summarise
from jsep.record.run_files import read
from jsep.report import explorer
from jsep.report.charts import Line, Panel, line_chart
from jsep.report.study_figures import overview, overview_words

METHODS = ("sep_pos", "mat", "sep_neg")


def _decode(packed, shape):
    values = np.frombuffer(base64.b64decode(packed["values"]), "<i2").reshape(shape)
    return values / 32767 * np.array(packed["largest"])[:, None, None]


def test_gallery_holds_the_maps_to_16_bits_and_the_images_to_8(tmp_path, write_run, make_maps):
    arrays = make_maps(num_pairs=3, channels=3, num_courses=2)
    data = explorer.explorer_data(read(write_run(tmp_path / "run", maps=arrays)).maps, METHODS, {"map_normalize": "l1"})
    assert data["steps"] == [0, 10, 40, 100]
    assert len(data["pairs"]) == 2
    own = data["attacks"]["sep_neg"][1]
    expected = arrays["sep_neg/course_maps"][1]
    np.testing.assert_allclose(_decode(own["maps"], expected.shape), expected, rtol=0, atol=expected.max() / 32767)
    images = np.frombuffer(base64.b64decode(own["images"]), "u1").reshape(4, 8, 8, 3) / 255
    np.testing.assert_allclose(images, arrays["sep_neg/course_images"][1], rtol=0, atol=0.5 / 255 + 1e-9)
    np.testing.assert_allclose(_decode(own["target"], (1, 8, 8))[0], arrays["sep_neg/target_map"][1], rtol=0, atol=1e-5)
    change = np.abs(arrays["sep_neg/course_images"][1] - arrays["victim_images"][1]).max(axis=(1, 2, 3))
    np.testing.assert_allclose(own["change"], change, atol=6e-5)
    assert json.loads(json.dumps(data)) == data


def test_gallery_of_a_run_without_steps_has_start_and_end(tmp_path, write_run, make_maps):
    arrays = make_maps(num_pairs=2, num_steps=20)
    data = explorer.explorer_data(read(write_run(tmp_path / "run", maps=arrays)).maps, METHODS, {})
    assert data["steps"] == [0, 20]
    assert data["whole"] is False
    last = _decode(data["attacks"]["mat"][0]["maps"], (2, 8, 8))[1]
    np.testing.assert_allclose(last, arrays["mat/manipulated_map"][0], rtol=0, atol=1e-5)


def test_gallery_stays_within_its_bytes(tmp_path, write_run, make_maps, monkeypatch):
    maps = read(write_run(tmp_path / "run", maps=make_maps(num_pairs=6, num_courses=6))).maps
    for limit in (60_000, 20_000, 6_000):
        monkeypatch.setattr(explorer, "MAX_BYTES", limit)
        data = explorer.explorer_data(maps, METHODS, {})
        size = sum(len(own["images"]) + len(own["maps"]["values"]) for kept in data["attacks"].values() for own in kept)
        # Of each text the last three bytes are rounded up to four characters.
        assert size <= limit + 8 * 3 * len(data["pairs"])
        assert data["pairs"]
        assert data["steps"][0] == 0
        assert data["steps"][-1] == 100


def test_lines_have_their_values_and_gaps_where_there_is_no_number():
    line = Line(np.array([0, 5, 10]), np.array([1.0, np.nan, 3.0]), "#0072B2", "o", band=([0, 0, 1], [2, 2, 4]))
    figure = line_chart([Panel("t", "step", "value [x]", [line])])
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.lines[-1].get_ydata(), [1.0, np.nan, 3.0])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "value [x]")
    assert len(axes.collections) == 1


def test_overview_draws_every_number_and_every_seed_and_says_them(make_rows):
    rows = make_rows(num_seeds=3)
    summaries = summarise(rows)
    figure = overview(summaries, rows, 64)
    words = overview_words(summaries, 64)
    for height, method in enumerate(METHODS):
        own = [row for row in rows if row["method"] == method]
        end = 64**2 * np.mean([row["explanation_loss_end"] for row in own])
        assert f"to {end:.2f}" in words
        marks = [line for line in figure.axes[0].lines if line.get_marker() == "o" and line.get_ydata()[0] == height]
        assert marks[1].get_xdata()[0] == pytest.approx(end)
    ticks = [
        line for axes in figure.axes for line in axes.lines if line.get_marker() == "|" and len(line.get_xdata()) == 3
    ]
    assert len(ticks) == 3 * 4
    empty = overview(summarise([{"method": "mat"}]), [{"method": "mat"}], None)
    assert [axes.texts[0].get_text() for axes in empty.axes] == ["not measured"] * 4

"""The data of the gallery, as a page decodes them, and the charts."""

import base64
import json
import re

import numpy as np
import pytest

from jsep.record import summarise
from jsep.report import charts, explorer, svg
from jsep.report.records import read

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


def test_chart_puts_values_where_they_belong():
    line = svg.Series(np.array([0, 5, 10]), np.array([1.0, np.nan, 3.0]), "#0072B2")
    drawn = svg.line_chart([line], alt="a chart of nothing", x_label="step", from_zero=True)
    path = re.search(r'class="line" d="([^"]+)"', drawn).group(1)
    # A gap where there is no number: two strokes that begin, none that goes on.
    assert path.count("M") == 2
    assert "L" not in path
    (x0, y0), (x1, y1) = ([float(v) for v in part.split()] for part in path.split("M")[1:])
    ticks = dict(re.findall(r'y="([\d.]+)" text-anchor="end">([\d.]+)<', drawn))
    places = sorted((float(value), float(place) - 3.8) for place, value in ticks.items())
    assert x0 < x1
    for value, found in ((1.0, y0), (3.0, y1)):
        (low, first), (high, last) = places[0], places[-1]
        assert found == pytest.approx(first + (value - low) / (high - low) * (last - first), abs=0.15)


def test_overview_says_every_number_and_draws_every_seed(make_rows):
    rows = make_rows(num_seeds=3)
    drawn = charts.overview_panels(summarise(rows), rows)
    assert drawn.count('class="seed"') == 3 * 3 * 4
    for method in METHODS:
        end = np.mean([row["explanation_loss_end"] for row in rows if row["method"] == method])
        assert f"→ {1e7 * end:.0f} (" in drawn
    empty = charts.overview_panels(summarise([{"method": "mat"}]), [{"method": "mat"}])
    assert empty.count("not measured") == 4


def test_every_known_mark_is_a_shape_of_its_own():
    shapes = {svg.mark(kind, 0, 0) for kind in ("o", "^", "v", "s", "D", "P", "X", "*", "<", ">", "p", "h", "d", "8")}
    assert len(shapes) == 14

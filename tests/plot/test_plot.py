"""jsep.plot: the axes that come back, what lies on them, axes of the caller's own."""

import types

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from jsep import landscape, plot
from jsep.checks import InputError

IMAGES = np.random.default_rng(0).uniform(size=(3, 8, 8, 1)).astype(np.float32)
MAPS = IMAGES[..., 0] / IMAGES.sum(axis=(1, 2, 3))[:, None, None]


@pytest.fixture(autouse=True)
def _closed():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


def shown(axes) -> np.ndarray:
    """The pixels of the one picture on the axes."""
    (picture,) = axes.get_images()
    return np.asarray(picture.get_array())


def test_a_map_stands_beside_its_image_in_percent_of_its_sum() -> None:
    image, drawn = plot.map(IMAGES[0], MAPS[0], title="predicted 3")
    assert image.get_title() == "predicted 3"
    np.testing.assert_allclose(shown(image)[..., 0], IMAGES[0, ..., 0], rtol=1e-6)
    np.testing.assert_allclose(shown(drawn).sum(), 100, rtol=1e-5)
    assert drawn.get_xlabel() == f"{1 / (MAPS[0] ** 2).sum():.1f} effective pixels"


def test_several_maps_share_one_scale_and_bear_their_names() -> None:
    axes = plot.map(IMAGES[0], {"a": MAPS[0], "b": 0.5 * MAPS[0]})
    assert [each.get_title() for each in axes] == ["", "a", "b"]
    assert len({each.get_images()[0].get_clim() for each in axes[1:]}) == 1


def test_axes_of_the_caller_are_used_and_their_number_is_checked() -> None:
    own = Figure().subplots(1, 2)
    assert list(plot.map(IMAGES[0], MAPS[0], axes=own)) == list(own)
    assert plt.get_fignums() == []
    with pytest.raises(InputError, match=r"expected 1 x 2 = 2 axes, got 3"):
        plot.map(IMAGES[0], MAPS[0], axes=Figure().subplots(1, 3))


def test_an_attack_shows_change_and_distances() -> None:
    axes = plot.attack(*IMAGES, maps=MAPS, losses=[2e-3, 1e-3], below=["cat, predicted cat"])
    assert axes.shape == (2, 4)
    assert axes[0, 0].get_xlabel() == "cat, predicted cat"
    np.testing.assert_allclose(shown(axes[0, 3]), (IMAGES[1] - IMAGES[0])[..., 0], atol=1e-6)
    for column in (0, 1):
        loss = 64**2 * np.mean((MAPS[column] - MAPS[2]) ** 2)
        assert axes[1, column].get_xlabel().endswith(f"{loss:.2f}")
    np.testing.assert_allclose(axes[1, 3].lines[0].get_ydata(), [64**2 * 2e-3, 64**2 * 1e-3])


def test_an_attack_without_target_has_a_column_less_and_every_image_needs_its_map() -> None:
    assert plot.attack(IMAGES[0], IMAGES[1], maps=MAPS[:2]).shape == (2, 3)
    with pytest.raises(InputError, match="each of the 2 images, got 3"):
        plot.attack(IMAGES[0], IMAGES[1], maps=MAPS)


def test_models_are_compared_row_by_row() -> None:
    found = types.SimpleNamespace(victim_map=MAPS[None, 0], manipulated_map=MAPS[None, 1], target_map=MAPS[None, 2])
    axes = plot.compare(IMAGES[0], {"mat": found, "sep_pos": found})
    assert axes.shape == (2, 4)
    assert [row[0].get_title() for row in axes] == ["mat", "sep_pos"]
    np.testing.assert_allclose(shown(axes[1, 3]), 100 * MAPS[2], rtol=1e-5)


def test_lines_of_a_landscape_and_a_plane() -> None:
    lines = landscape.slice_1d(lambda x: (x**2).sum(), IMAGES[0], IMAGES[1:], 1.0, 5)
    axes = plot.landscape(lines, label="mat", bold=[-1])
    drawn = [line for line in axes.lines if len(line.get_xdata())]
    np.testing.assert_allclose([line.get_ydata() for line in drawn], lines.values)
    assert drawn[0].get_linewidth() < drawn[1].get_linewidth()
    assert axes.get_legend_handles_labels()[1] == ["mat"]
    plane = landscape.slice_2d(lambda x: (x**2).sum(), IMAGES[0], IMAGES[1:], 1.0, 5)
    assert plot.landscape(plane, axes=Figure().subplots()).get_aspect() == 1.0

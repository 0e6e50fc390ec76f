"""Arrays of one's own as a data set."""

import numpy as np
import pytest

from jsep import data
from jsep.checks import InputError

IMAGES = np.random.default_rng(0).uniform(0, 1, (6, 4, 3, 2))
LABELS = np.array([0, 1, 2, 0, 1, 2])


def test_info_is_that_of_the_arrays() -> None:
    dataset = data.from_arrays(IMAGES, LABELS, name="mine")
    assert (len(dataset), dataset.info.name, dataset.info.num_classes, dataset.split) == (6, "mine", 3, "test")
    assert dataset.info.image_shape == (4, 3, 2)
    np.testing.assert_allclose(dataset.info.mean, IMAGES.reshape(-1, 2).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(dataset.info.std, IMAGES.reshape(-1, 2).std(axis=0), rtol=1e-6)
    assert dataset.images.dtype == np.float32
    assert dataset.info.class_names == ("class 0", "class 1", "class 2")


def test_bytes_stay_bytes_and_grey_images_get_a_channel() -> None:
    images = np.random.default_rng(1).integers(0, 256, (6, 5, 5), dtype=np.uint8)
    dataset = data.from_arrays(images, LABELS, class_names=("a", "b", "c", "d"))
    assert dataset.images.dtype == np.uint8
    assert dataset.info.num_classes == 4
    np.testing.assert_allclose(dataset.info.mean, [images.mean() / 255], rtol=1e-6)
    np.testing.assert_allclose(dataset.as_float()[..., 0], images / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (IMAGES[0, 0], LABELS, {}, "images must be .B, H, W, C. with at least one image"),
        (
            np.zeros((6, 3, 16, 16)),
            LABELS,
            {},
            r"\(6, 3, 16, 16\): channels first\? Then np.moveaxis",
        ),
        (IMAGES * 255, LABELS, {}, r"float images must be in \[0, 1\]"),
        (IMAGES, LABELS[:5], {}, "expected one label an image, got 6 images and labels of shape .5,."),
        (IMAGES, LABELS / 2, {"num_classes": 3}, "labels must be integers"),
        (IMAGES, LABELS, {"num_classes": 2}, "labels must be in 0 .. 1"),
        (IMAGES, LABELS, {"num_classes": 3, "class_names": ("a",)}, "names of the 3 classes, got 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(images, labels, options, message) -> None:
    with pytest.raises(InputError, match=message):
        data.from_arrays(images, labels, **options)


NAMES = ("train", "validation", "test")


def test_paths_may_be_path_objects_and_begin_at_home(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    splits = {name: data.from_arrays(IMAGES, LABELS, num_classes=3, split=name) for name in NAMES}
    data.save_npz("~/mine.npz", splits)
    for path in ("~/mine.npz", tmp_path / "mine.npz"):
        np.testing.assert_array_equal(data.load(path, split="test").labels, LABELS)


def test_rounding_beyond_the_box_is_clipped_and_labels_that_wrapped_around_are_refused() -> None:
    images = np.zeros((2, 2, 2, 1))
    images[0, 0, 0], images[1, 0, 0] = 1.0000001, -3e-8
    dataset = data.from_arrays(images, np.array([0, 1]))
    assert (dataset.images.min(), dataset.images.max()) == (0, 1)
    for labels in (np.array([0, -1]).astype(np.uint32), np.array([0, 2**40])):
        with pytest.raises(InputError, match=r"labels go up to \d+.*wrapped around"):
            data.from_arrays(images, labels)

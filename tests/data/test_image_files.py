"""Images of one's own: every kind of file, as the model expects them."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from jsep import data
from jsep.checks import InputError

SHAPE = (8, 8, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype=np.uint8)


def test_arrays_and_pictures_are_read_in_their_order(tmp_path: pathlib.Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES[:1])
    np.save(tmp_path / "one.npy", IMAGES[1] / np.float32(255))
    np.savez(tmp_path / "b.npz", images=IMAGES[1:])
    Image.fromarray(IMAGES[2]).save(tmp_path / "c.png")
    found = data.read_images([tmp_path / name for name in ("a.npy", "one.npy", "b.npz", "c.png")], SHAPE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, IMAGES[[0, 1, 1, 2, 2]] / 255, atol=1e-6)


def test_pictures_are_cropped_to_their_middle_and_resized_and_made_grey(tmp_path: pathlib.Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert data.read_images([tmp_path / "wide.png"], (10, 10, 1)).min() > 0.9


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.npy", np.zeros((2, 4, 4, 3)), r"the model expects images \(8, 8, 3\), got an array \(2, 4, 4, 3\)"),
        ("a.png", b"no picture", "no images that can be read"),
        ("absent.png", None, "No such file"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: pathlib.Path, name: str, content, said: str) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        np.save(tmp_path / name, content)
    with pytest.raises(InputError, match=said):
        data.read_images([tmp_path / name], SHAPE)

"""Images of one's own from files: .npz and .npy arrays, and pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jsep.checks import InputError


def read_images(paths: Sequence[str | Path], image_shape: tuple[int, int, int]) -> np.ndarray:
    """The images of all files, in their order, as a model expects them.

    Args:
        paths: .npy with (B, H, W, C), (H, W, C) or, for one channel, (B, H, W); .npz with such an array as "images" or
            "x_test"; or a picture (PNG, JPEG), which is cropped to its middle and resized.
        image_shape: (H, W, C) of the model.

    Returns:
        (B, H, W, C) float32 in [0, 1]; uint8 arrays are divided by 255.

    Raises:
        InputError: for a file that cannot be read, or arrays that do not have the shape.
    """
    return np.concatenate([_read(Path(path), image_shape) for path in paths])


def _read(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                name = next((each for each in ("images", "x_test") if each in file), None)
                if name is None:
                    raise InputError(f'{path}: expected an array "images" or "x_test", got {", ".join(file) or "none"}')
                images = file[name]
        elif path.suffix == ".npy":
            images = np.load(path, allow_pickle=False)
        else:
            return _picture(path, shape)[None]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no images that can be read ({error}); give .npz, .npy, PNG or JPEG files") from error
    if images.shape[1:] == shape[:2] and shape[2] == 1:
        images = images[..., None]
    images = images[None] if images.shape == shape else images
    if images.shape[1:] != shape:
        raise InputError(f"{path}: the model expects images {shape}, got an array {images.shape}")
    if np.issubdtype(images.dtype, np.integer):
        images = images / 255.0
    return images.astype(np.float32)


def _picture(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        picture = opened.convert("RGB" if shape[2] == 3 else "L")
    fitted = ImageOps.fit(picture, (shape[1], shape[0]), Image.Resampling.LANCZOS)
    return (np.asarray(fitted, np.float32) / 255.0).reshape(shape)

"""`.npz` files with `x_train, y_train, x_test, y_test` (the Keras convention), for machines without TFDS."""

import zipfile
import zlib

import numpy as np

from jsep.checks import InputError
from jsep.data.dataset import Dataset, DatasetInfo

_VALIDATION_SHARE = 0.02


def load(path: str, split: str, max_images: int | None = None) -> Dataset:
    """A split of the file at `path`: "train" without its last 2 %, which are "validation", or "test".

    The file holds `x_*` as (B, H, W) or (B, H, W, C), uint8 or float in [0, 1], and `y_*` as (B,) or (B, 1) integers;
    the number of classes is the largest training label plus one.
    Raises InputError when the file is missing, damaged or lacks an array.
    """
    try:
        # Opened here: np.load leaves a file that is no archive open.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            missing = [key for key in ("x_train", "y_train", "x_test", "y_test") if key not in file]
            if missing:
                raise InputError(
                    f"{path}: expected the arrays x_train, y_train, x_test and y_test; missing {', '.join(missing)}"
                )
            part = "test" if split == "test" else "train"
            images, labels, train_labels = file[f"x_{part}"], file[f"y_{part}"], file["y_train"]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected an .npz with x_train, y_train, x_test, y_test") from None
    except InputError:
        raise
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a readable .npz file ({error}); write it again with np.savez") from error
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4:
        raise InputError(f"{path}: x_{part} must have shape (B, H, W) or (B, H, W, C), got {images.shape}")
    if np.issubdtype(images.dtype, np.floating):
        images = images.astype(np.float32)
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    # Before anything is cut: afterwards the lengths could agree by accident.
    if labels.shape != (len(images),):
        raise InputError(
            f"{path}: y_{part} must hold one label for each of {len(images)} images, got shape {labels.shape}"
        )
    for name, values in ((f"y_{part}", labels), ("y_train", train_labels)):
        if not np.issubdtype(values.dtype, np.integer):
            raise InputError(f"{path}: {name} must hold integers, got dtype {values.dtype}")
        if values.size == 0:
            raise InputError(f"{path}: {name} is empty: there are no images")
    labels = labels.astype(np.int32)
    if split != "test":
        cut = len(images) - max(1, round(_VALIDATION_SHARE * len(images)))
        chosen = slice(0, cut) if split == "train" else slice(cut, None)
        images, labels = images[chosen], labels[chosen]
    images, labels = images[:max_images], labels[:max_images]
    num_classes = int(np.max(train_labels)) + 1
    channels = images.shape[-1]
    info = DatasetInfo(
        name=path,
        num_classes=num_classes,
        image_shape=images.shape[1:],
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        class_names=tuple(f"class {label}" for label in range(num_classes)),
        augment=images.shape[-1] == 3,
    )
    return Dataset(images, labels, info, split)

"""`.npz` files with `x_train, y_train, x_test, y_test` (the Keras convention), for machines without TFDS."""

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jsep.checks import InputError
from jsep.data.dataset import Dataset, DatasetInfo
from jsep.data.records import RecordImages

_VALIDATION_SHARE = 0.02
_ROWS = 1024


def load(path: str, split: str, max_images: int | None = None) -> Dataset:
    """A split of the .npz file at `path`; "validation" is the last 2 % of its training images, "train" the rest.

    The file holds `x_*` as (B, H, W) or (B, H, W, C), uint8 or float in [0, 1], and `y_*` as (B,) or (B, 1) integers;
    the number of classes is the largest training label plus one.
    A file written by `save` also stores a validation split and the class names; its images are memory-mapped, without
    a check of the zip checksum.
    Raises InputError when the file is missing, damaged or lacks an array.
    """
    try:
        # Opened here because np.load does not close a file that turns out not to be an archive.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            missing = [key for key in ("x_train", "y_train", "x_test", "y_test") if key not in file]
            if missing:
                raise InputError(
                    f"{path}: expected the arrays x_train, y_train, x_test and y_test; missing {', '.join(missing)}"
                )
            has_validation = "x_validation" in file and "y_validation" in file
            part = split if split != "validation" or has_validation else "train"
            mapped = _mapped(path, f"x_{part}") if "info" in file else None
            images = file[f"x_{part}"] if mapped is None else mapped
            labels, train_labels = file[f"y_{part}"], file["y_train"]
            stored = json.loads(str(file["info"])) if "info" in file else None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected an .npz with x_train, y_train, x_test, y_test") from None
    except InputError:
        raise
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error, struct.error) as error:
        raise InputError(f"{path}: not a readable .npz file ({error}); write it again with np.savez") from error
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4:
        raise InputError(f"{path}: x_{part} must have shape (B, H, W) or (B, H, W, C), got {images.shape}")
    if np.issubdtype(images.dtype, np.floating):
        images = images.astype(np.float32, copy=False)
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    # Checked before the split is cut out: afterwards wrong lengths could agree by accident.
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
    if split != "test" and not has_validation:
        cut = len(images) - max(1, round(_VALIDATION_SHARE * len(images)))
        chosen = slice(0, cut) if split == "train" else slice(cut, None)
        images, labels = images[chosen], labels[chosen]
    images, labels = images[:max_images], labels[:max_images]
    if stored is not None:
        return Dataset(images, labels, _info(path, stored), split)
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


def _mapped(path: str, name: str) -> np.ndarray | None:
    """The array `name` of the archive, memory-mapped; None if it cannot be (compressed, Fortran order, empty)."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type != zipfile.ZIP_STORED:
        return None
    with open(path, "rb") as stream:
        # Zip local header: 26 bytes, the lengths of the file name and of the extra field, then these two.
        stream.seek(entry.header_offset + 26)
        stream.seek(sum(struct.unpack("<HH", stream.read(4))), os.SEEK_CUR)
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(stream)
        if is_fortran or dtype.hasobject or 0 in shape:
            return None
        return np.memmap(path, dtype, "r", stream.tell(), shape)


def _info(path: str, stored: Mapping[str, Any]) -> DatasetInfo:
    try:
        return DatasetInfo(
            name=stored["name"],
            num_classes=stored["num_classes"],
            image_shape=tuple(stored["image_shape"]),
            mean=tuple(stored["mean"]),
            std=tuple(stored["std"]),
            class_names=tuple(stored["class_names"]),
            augment=stored["augment"],
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: its info cannot be read ({error}); write the file again") from error


def save(path: str | Path, splits: Mapping[str, Dataset], *, on_progress: Callable[[int], None] | None = None) -> None:
    """Writes the splits "train", "validation" and "test" of a data set to an .npz file that `load` memory-maps.

    `load` returns an equal data set, including its name and class names. `RecordImages` are read and written in chunks;
    on_progress: called with the number of images of each chunk written.
    Raises: InputError when a split is missing or the file cannot be written.
    """
    missing = {"train", "validation", "test"} - set(splits)
    if missing or not str(path).endswith(".npz"):
        raise InputError(f"an .npz file of train, validation and test is expected, got {path} and {', '.join(splits)}")
    info = splits["train"].info
    stored = {
        field: getattr(info, field)
        for field in ("name", "num_classes", "image_shape", "mean", "std", "class_names", "augment")
    }
    path = Path(path).expanduser()
    temporary = path.with_suffix(".tmp.npz")
    try:
        # Like np.savez, but without holding all images in memory.
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            _write(archive, "info", np.array(json.dumps(stored)))
            for name, split in splits.items():
                _write(archive, f"x_{name}", split.images, on_progress)
                _write(archive, f"y_{name}", split.labels)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); choose another place") from error
    finally:
        temporary.unlink(missing_ok=True)


def _write(
    archive: zipfile.ZipFile,
    name: str,
    array: np.ndarray | RecordImages,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
        header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(stream, header)
        rows = [array] if array.ndim == 0 else (array[i : i + _ROWS] for i in range(0, len(array), _ROWS))
        for part in rows:
            stream.write(np.ascontiguousarray(part).tobytes())
            if on_progress is not None:
                on_progress(len(part))

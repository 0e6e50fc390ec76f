"""MNIST, Fashion-MNIST, CIFAR-10, CIFAR-100 and imagenette through `tensorflow_datasets`, without TensorFlow."""

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jsep.checks import InputError
from jsep.data.dataset import STREAM_ABOVE, Dataset, DatasetInfo
from jsep.data.preparation import without_tensorflow
from jsep.data.records import RecordImages
from jsep.data.source import DataSource

_DIGITS = tuple(str(digit) for digit in range(10))
INFOS = {
    "mnist": DatasetInfo("mnist", 10, (28, 28, 1), (0.1307,), (0.3081,), _DIGITS, augment=False),
    "fashion_mnist": DatasetInfo(
        "fashion_mnist",
        10,
        (28, 28, 1),
        (0.2860,),
        (0.3530,),
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        augment=False,
    ),
    "cifar10": DatasetInfo(
        "cifar10",
        10,
        (32, 32, 3),
        (0.4914, 0.4822, 0.4465),
        (0.2470, 0.2435, 0.2616),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        augment=True,
    ),
    "cifar100": DatasetInfo(
        "cifar100",
        100,
        (32, 32, 3),
        (0.5071, 0.4865, 0.4409),
        (0.2673, 0.2564, 0.2762),
        tuple(f"class {label}" for label in range(100)),
        augment=True,
    ),
    # Ten easily separated classes of ImageNet, cropped to squares.
    "imagenette": DatasetInfo(
        "imagenette",
        10,
        (96, 96, 3),
        (0.4625, 0.4580, 0.4295),
        (0.2813, 0.2774, 0.3006),
        (
            "tench",
            "English springer",
            "cassette player",
            "chain saw",
            "church",
            "French horn",
            "garbage truck",
            "gas pump",
            "golf ball",
            "parachute",
        ),
        augment=True,
    ),
}

# The validation split is the end of the training split. TFDS stores records in a fixed shuffled order, so this is a
# random sample, the same on every machine; 1,000 is the usual size for adversarial training on CIFAR-10.
_NUM_VALIDATION = 1000
_READ_AT_ONCE = 1024


@contextlib.contextmanager
def quiet_reader() -> Iterator[None]:
    """Silences array_record, which logs advice about its group size at ERROR level although nothing has failed."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def open_tfds(
    name: str,
    data_dir: str | None,
    part: str,
    make_builder: Callable[[], Any] | None = None,
    *,
    decode_images: bool = True,
) -> Any:
    """The records of the TFDS split `part`; downloads and prepares the data set first if needed.

    Args: make_builder: returns the builder of a data set that TFDS does not provide; decode_images: False to read only
      the labels.
    Raises: InputError, naming the directory and the reason.
    """
    try:
        # Imported here: it takes seconds to load and is not installed on every machine.
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise InputError(
            f"data set {name!r} needs tensorflow-datasets, which is not installed ({error}); "
            "run: pip install tensorflow-datasets array_record, or pass a .npz file"
        ) from error

    if data_dir is not None and not os.path.isdir(data_dir):
        raise InputError(
            f"data_dir: expected an existing TFDS directory, got {data_dir!r}; leave it out to use TFDS's own"
        )
    try:
        # array_record is the only format that TFDS reads and writes without TensorFlow.
        if make_builder is not None:
            builder = make_builder()
        else:
            builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
        with without_tensorflow(builder):
            builder.download_and_prepare(file_format="array_record")
        decoders = None if decode_images else {"image": tfds.decode.SkipDecoding()}
        return builder.as_data_source(split=part, decoders=decoders)
    except InputError:
        raise
    except Exception as error:  # TFDS raises many types, e.g. for a missing network or a damaged directory
        place = data_dir or "TFDS's default data_dir"
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"cannot read data set {name!r} ({part}) from {place}: {type(error).__name__}: {reason}; "
            "point data_dir at a directory that holds it, or remove a damaged copy to download it again"
        ) from error


def read_source(
    source: Any,
    info: DatasetInfo,
    split: str,
    max_images: int | None,
    data_dir: str | None,
    to_image: Callable[[np.ndarray], np.ndarray] = lambda image: image,
    *,
    stream: bool | None = None,
    open_labels: Callable[[], Any] | None = None,
) -> Dataset:
    """A split as a `Dataset`: all records for "test", the last 1,000 for "validation", the others for "train".

    `max_images`: read only the first `max_images` records of the split (in its fixed random order). `to_image`:
    converts a decoded image to `info.image_shape`. `stream`: as `data.load`; `open_labels` then returns the records
    without decoding their images.
    Raises: InputError if a record cannot be read.
    """
    total = len(source)
    start, stop = {"train": (0, total - _NUM_VALIDATION), "validation": (total - _NUM_VALIDATION, total)}.get(
        split, (0, total)
    )
    if max_images is not None:
        stop = min(stop, start + max_images)
    lazy = RecordImages(source, np.arange(start, stop), info.image_shape, to_image)
    stream = lazy.nbytes > STREAM_ABOVE if stream is None else stream
    images = None if stream else np.empty(lazy.shape, np.uint8)
    if stream:
        source.__getitems__([start])  # array_record logs at the first read: do it inside `quiet_reader`
    labels = np.empty(stop - start, np.int32)
    if stream and open_labels is not None:
        source = open_labels()
    first = start
    try:
        for first in range(start, stop, _READ_AT_ONCE):
            records = source.__getitems__(list(range(first, min(first + _READ_AT_ONCE, stop))))
            at = slice(first - start, first - start + len(records))
            if images is not None:
                images[at] = [to_image(record["image"]) for record in records]
            labels[at] = [record["label"] for record in records]
    except Exception as error:
        raise InputError(
            f"data set {info.name!r} ({split}): record {first} and following cannot be read from "
            f"{data_dir or 'the default data_dir'} ({type(error).__name__}); the files are damaged: replace them"
        ) from error
    return Dataset(lazy if images is None else images, labels, info, split)


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    """The central square crop of an image of any size, resized to `size` x `size` pixels."""
    from PIL import Image

    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    square = Image.fromarray(image[top : top + side, left : left + side])
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))


def load(
    name: str, data_dir: str | None, split: str, max_images: int | None = None, stream: bool | None = None
) -> Dataset:
    """A split of the TFDS data set `name`; "validation" is the last 1,000 training images, "train" the rest.

    `max_images`, `stream`: as in `read_source`. Images of imagenette are cropped and resized to `info.image_shape`.
    Raises InputError when the data cannot be read, naming the directory and the reason.
    """
    info = INFOS[name]
    squares = name == "imagenette"
    tfds_name = "imagenette/160px-v2" if squares else name
    part = "train" if split != "test" else "validation" if squares else "test"
    settings: dict[str, Any] = {"to_image": functools.partial(_resized, size=info.image_shape[0])} if squares else {}
    with quiet_reader():
        source = open_tfds(tfds_name, data_dir, part)
        settings["open_labels"] = functools.partial(open_tfds, tfds_name, data_dir, part, decode_images=False)
        return read_source(source, info, split, max_images, data_dir, stream=stream, **settings)


_NUM_IMAGES = {
    "mnist": (59_000, 1_000, 10_000),
    "fashion_mnist": (59_000, 1_000, 10_000),
    "cifar10": (49_000, 1_000, 10_000),
    "cifar100": (49_000, 1_000, 10_000),
    "imagenette": (8_469, 1_000, 3_925),
}

SOURCES = {
    name: DataSource(functools.partial(load, name), can_stream=True, info=info, num_images=_NUM_IMAGES[name])
    for name, info in INFOS.items()
}

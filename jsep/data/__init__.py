"""Data sets, loaded by name: images in [0, 1] with integer labels.

A new data set is one file with a `load(data_dir, split)` and a `DataSource`, and one line in `DATASETS`. Users register
their own with `data.DATASETS["mine"] = data.DataSource(load)` before a configuration names it.
"""

import os

from jsep.arguments import explain_failures
from jsep.checks import InputError, check_choice, check_count
from jsep.data import digits, npz, tensorflow_datasets, tiny_imagenet
from jsep.data.dataset import STREAM_ABOVE, Dataset, DatasetInfo, from_arrays, stratified_subset
from jsep.data.example_images import examples
from jsep.data.image_files import read_images
from jsep.data.npz import save as save_npz
from jsep.data.source import DataSource

__all__ = [
    "DATASETS",
    "STREAM_ABOVE",
    "DataSource",
    "Dataset",
    "DatasetInfo",
    "check_name",
    "examples",
    "from_arrays",
    "load",
    "read_images",
    "save_npz",
    "stratified_subset",
]

DATASETS: dict[str, DataSource] = {
    "digits": digits.SOURCE,
    **tensorflow_datasets.SOURCES,
    tiny_imagenet.NAME: tiny_imagenet.SOURCE,
}
"""name -> DataSource."""

_SPLITS = ("train", "validation", "test")


def check_name(name: str) -> None:
    """Raises InputError unless `name` is a key of `DATASETS` or the path of an .npz file; suggests the nearest one."""
    if not name.endswith(".npz"):
        check_choice("data set", name, [*DATASETS, "<path>.npz"])


def load(
    name: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    split: str,
    max_images: int | None = None,
    stream: bool | None = None,
) -> Dataset:
    """One split of a data set, held in memory or read from disk on access.

    >>> from jsep import data
    >>> digits = data.load("digits", split="test")
    >>> digits.info.image_shape, digits.info.num_classes
    ((8, 8, 1), 10)

    Args:
      name: a key of `DATASETS`, or the path of an `.npz` file with x_train, y_train, x_test, y_test (`save_npz`).
      data_dir: directory of the data; None for the loader's default. TFDS data are downloaded into it when absent.
      split: "train", "validation" or "test"; no image is in two splits.
      max_images: read only the first `max_images` images of the split.
      stream: whether images stay in their records on disk until indexed (sources with `can_stream`); None: if they take
        more than `STREAM_ABOVE` bytes in memory. A file written by `save_npz` is always memory-mapped.

    Returns: a `Dataset`; images (B, H, W, C) uint8 or float32 in [0, 1], labels (B,) int32.
    Raises: InputError for an unknown name or split, or data that is missing, damaged or out of range.
    """
    check_choice("split", split, _SPLITS)
    name = os.path.expanduser(os.fspath(name))
    data_dir = None if data_dir is None else os.path.expanduser(os.fspath(data_dir))
    if max_images is not None:
        check_count("max_images", max_images)
    if name == "<path>.npz":  # the placeholder from the list of known names
        raise InputError("data set: give the path of an .npz file, for example cifar10.npz")
    if name.endswith(".npz"):
        return npz.load(name, split, max_images)
    check_name(name)
    source = DATASETS[name]
    if source.can_stream:
        return source.load(data_dir, split, max_images=max_images, stream=stream)
    dataset = source.load(data_dir, split)
    return dataset if max_images is None else dataset.take(slice(max_images))


explain_failures(__all__, globals())

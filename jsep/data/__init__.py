"""Images in [0, 1] and labels, by name.

A new data set is one file with an `INFO` and a `load(data_dir, split)`, and one line in `LOADERS`.
"""

from collections.abc import Callable

from jsep.checks import InputError, check_choice, check_count
from jsep.data import digits, npz, tensorflow_datasets, tiny_imagenet
from jsep.data.dataset import STREAM_ABOVE, Dataset, DatasetInfo, from_arrays, stratified_subset
from jsep.data.npz import save as save_npz

__all__ = ["LOADERS", "STREAM_ABOVE", "Dataset", "DatasetInfo", "from_arrays", "load", "save_npz", "stratified_subset"]

LOADERS: dict[str, Callable[..., Dataset]] = {
    "digits": digits.load,
    **tensorflow_datasets.LOADERS,
    tiny_imagenet.NAME: tiny_imagenet.load,
}
"""name -> function (data_dir, split) -> Dataset."""

_SPLITS = ("train", "validation", "test")


def load(
    name: str, *, data_dir: str | None = None, split: str, max_images: int | None = None, stream: bool | None = None
) -> Dataset:
    """A split of a data set, in memory or read when it is used.

    Args:
      name: a key of `LOADERS`, or the path of an `.npz` file with x_train, y_train, x_test, y_test (`save_npz`).
      data_dir: where TFDS data lie; None is TFDS's own directory. Downloaded there when absent.
      split: "train", "validation" or "test"; they never share an image.
      max_images: read only the first so many images of the split.
      stream: leave the images in their records (TFDS) until they are indexed; None: where they would take more than
        `STREAM_ABOVE` bytes. Those of a file of `save_npz` are mapped into memory in any case.

    Returns: a `Dataset`; images (B, H, W, C) uint8 or float32 in [0, 1], labels (B,) int32.
    Raises: InputError for an unknown name or split, or data that is missing, damaged or out of range.
    """
    check_choice("split", split, _SPLITS)
    if max_images is not None:
        check_count("max_images", max_images)
    if name == "<path>.npz":  # the placeholder in the list of known names, taken literally
        raise InputError("data set: give the path of an .npz file, for example cifar10.npz")
    if name.endswith(".npz"):
        return npz.load(name, split, max_images)
    check_choice("data set", name, [*LOADERS, "<path>.npz"])
    loader = LOADERS[name]
    if name == "digits":
        dataset = loader(data_dir, split)
        return dataset if max_images is None else dataset.take(slice(max_images))
    return loader(data_dir, split, max_images, stream)

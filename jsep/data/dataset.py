"""One split of a data set, in memory or read on access, and its metadata."""

import dataclasses
import hashlib

import numpy as np

from jsep.checks import InputError, check_count, clip_rounding
from jsep.data.records import RecordImages

STREAM_ABOVE = 4 * 2**30
"""Size of the images in bytes above which a data set is streamed by default."""

_NUM_SAMPLED = 1024


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """Metadata of a data set.

    num_classes: K; image_shape: (H, W, C); mean, std: per channel, of the training images in [0, 1];
    class_names: K names; augment: whether random crops and flips preserve the label;
    splits: names of the available splits.
    """

    name: str
    num_classes: int
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    augment: bool
    splits: tuple[str, ...] = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images and labels of one split.

    images: (B, H, W, C) uint8, or float32 in [0, 1]; an array in memory, a memory-mapped array, or `RecordImages`;
    labels: (B,) int32 in 0 .. K-1.
    Raises InputError for invalid shapes, dtypes, pixel values or labels.
    """

    images: np.ndarray | RecordImages
    labels: np.ndarray
    info: DatasetInfo
    split: str

    def __post_init__(self) -> None:
        where = f"{self.info.name} ({self.split})"
        expected = self.info.image_shape
        if self.images.ndim != 4 or self.images.shape[1:] != expected:
            raise InputError(
                f"{where}: images must have shape (B, {', '.join(map(str, expected))}), got {self.images.shape}"
            )
        height, width, channels = expected
        if channels > 4 >= height and width > 4:
            raise InputError(
                f"{where}: images must be (B, H, W, C), got {self.images.shape}: channels first? Then "
                "np.moveaxis(images, 1, -1)"
            )
        if len(self.images) == 0:
            raise InputError(f"{where}: there are no images")
        if self.labels.shape != (len(self.images),):
            raise InputError(
                f"{where}: expected one label an image, got {len(self.images)} images "
                f"and labels of shape {self.labels.shape}"
            )
        if not np.issubdtype(self.labels.dtype, np.integer):
            raise InputError(f"{where}: labels must be integers, got dtype {self.labels.dtype}")
        if self.labels.min() < 0 or self.labels.max() >= self.info.num_classes:
            raise InputError(
                f"{where}: labels must be in 0 .. {self.info.num_classes - 1}, "
                f"got {self.labels.min()} .. {self.labels.max()}"
            )
        if self.images.dtype == np.uint8:
            return
        if self.images.dtype != np.float32:
            raise InputError(f"{where}: images must be uint8, or float32 in [0, 1], got dtype {self.images.dtype}")
        assert isinstance(self.images, np.ndarray)  # records are uint8
        low, high = float(self.images.min()), float(self.images.max())
        if not (low >= 0 and high <= 1):
            raise InputError(
                f"{where}: float images must be in [0, 1], got [{low:g}, {high:g}]; "
                + ("undo the normalisation, which belongs in the model" if low < 0 else "divide by the largest value")
            )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: np.ndarray | slice) -> "Dataset":
        """The subset of the images and labels at `indices`."""
        kept = self.images
        images = kept.view(indices) if isinstance(kept, RecordImages) else kept[indices]
        return dataclasses.replace(self, images=images, labels=self.labels[indices])

    def image_sum(self) -> float:
        """The sum of all stored pixel values; above 4 GiB, the sum over 1,024 evenly spaced images.

        A checksum that identifies the data set; the same in memory and streamed.
        """
        if self.images.nbytes > STREAM_ABOVE:
            return float(self.images[np.linspace(0, len(self) - 1, _NUM_SAMPLED).astype(int)].sum(dtype=np.float64))
        if isinstance(self.images, np.ndarray):
            return float(self.images.sum(dtype=np.float64))
        starts = range(0, len(self), _NUM_SAMPLED)
        return float(sum(self.images[first : first + _NUM_SAMPLED].sum(dtype=np.float64) for first in starts))

    def checksum(self) -> bytes:
        """The SHA-256 of images and labels; above 4 GiB, of 1,024 evenly spaced images and all labels.

        The same in memory and streamed.
        """
        digest = hashlib.sha256(np.ascontiguousarray(self.labels).tobytes())
        rows = np.arange(len(self))
        if self.images.nbytes > STREAM_ABOVE:
            rows = np.linspace(0, len(self) - 1, _NUM_SAMPLED).astype(int)
        for first in range(0, len(rows), _NUM_SAMPLED):
            digest.update(np.ascontiguousarray(self.images[rows[first : first + _NUM_SAMPLED]]).tobytes())
        return digest.digest()

    def as_float(self, indices: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The images at `indices` as float32 in [0, 1]."""
        images = self.images[indices]
        return images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images


_MOST_CLASSES = 1_000_000
"""Without a given `num_classes`, labels from this value on are taken for integer overflow and rejected."""


def from_arrays(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    name: str = "arrays",
    split: str = "test",
    num_classes: int | None = None,
    class_names: tuple[str, ...] | None = None,
) -> Dataset:
    """A `Dataset` from arrays; its mean and standard deviation are computed from the images.

    >>> import numpy as np
    >>> from jsep import data
    >>> mine = data.from_arrays(np.zeros((6, 8, 8), np.uint8), [0, 1, 2, 0, 1, 2])
    >>> len(mine), mine.info.image_shape, mine.info.num_classes
    (6, (8, 8, 1), 3)

    Args:
      images: (B, H, W, C), or (B, H, W) for one channel; uint8, or floating point in [0, 1].
      labels: (B,) integers. num_classes: K; default: the number of `class_names`, or else the largest label plus one.

    Raises: InputError for invalid shapes, pixel values or labels.
    """
    images = np.asarray(images)
    images = images[..., None] if images.ndim == 3 else images
    if np.issubdtype(images.dtype, np.floating):
        images = clip_rounding(images.astype(np.float32, copy=False))
    if images.ndim != 4 or images.size == 0:
        raise InputError(f"images must be (B, H, W, C) with at least one image, got shape {images.shape}")
    labels = np.asarray(labels)
    if num_classes is None and np.issubdtype(labels.dtype, np.integer) and labels.size:
        largest = int(labels.max())
        if largest >= _MOST_CLASSES and not class_names:
            raise InputError(f"labels go up to {largest}: a number that wrapped around? Else pass num_classes")
        num_classes = len(class_names) if class_names else largest + 1
    num_classes = num_classes or 0
    names = tuple(class_names) if class_names else tuple(f"class {label}" for label in range(num_classes))
    if len(names) != num_classes:
        raise InputError(f"class_names must be the names of the {num_classes} classes, got {len(names)}")
    scale = 255 if images.dtype == np.uint8 else 1
    channels = [images[..., channel] for channel in range(images.shape[-1])]
    mean = tuple(float(np.mean(channel, dtype=np.float64)) / scale for channel in channels)
    std = tuple(float(np.std(channel, dtype=np.float64)) / scale for channel in channels)
    info = DatasetInfo(name, num_classes, images.shape[1:], mean, std, names, augment=False, splits=(split,))
    return Dataset(images, labels.astype(np.int32) if np.issubdtype(labels.dtype, np.integer) else labels, info, split)


def stratified_subset(dataset: Dataset, num_images: int, *, seed: int = 0) -> Dataset:
    """A stratified random subset of `num_images` images, drawn without replacement.

    Draw and order depend on `seed` alone; the whole data set if it has at most `num_images` images.
    Raises InputError when `num_images` is not a positive integer.
    """
    check_count("num_images", num_images)
    if num_images >= len(dataset):
        return dataset
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(dataset))
    labels = dataset.labels[order]
    # Rank each image within its class, divided by the size of the class: taking the smallest ranks keeps the count of
    # every class within one image of its share. Ties are broken by the random order.
    rank = np.empty(len(order))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    return dataset.take(order[np.sort(np.argsort(rank, kind="stable")[:num_images])])

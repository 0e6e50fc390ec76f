"""An entry of the data set registry: how a data set is loaded, and what is known of it without loading."""

import dataclasses
from collections.abc import Callable

from jsep.data.dataset import Dataset, DatasetInfo


@dataclasses.dataclass(frozen=True)
class DataSource:
    """A data set, an entry of `data.DATASETS`.

    load: (data_dir, split) -> Dataset, for the splits "train", "validation" and "test", disjoint and the same on every
      machine; data_dir: directory of the data, None for the loader's default. Images (B, H, W, C) uint8 or float32 in
      [0, 1], labels (B,) int32. Raises InputError for missing or damaged data.
    can_stream: whether `load` also takes max_images= and stream=, as `data.load` does, and reads only what it needs.
    is_embedded: whether the data set needs no data_dir.
    info, num_images: the metadata and the number of images by split, known without loading the data; None if unknown.
    """

    load: Callable[..., Dataset]
    can_stream: bool = False
    is_embedded: bool = False
    info: DatasetInfo | None = None
    num_images: tuple[int, int, int] | None = None

"""What a data set is to the rest of the package: how it is read, and what is known about it before it is."""

import dataclasses
from collections.abc import Callable

from jsep.data.dataset import Dataset, DatasetInfo


@dataclasses.dataclass(frozen=True)
class DataSource:
    """A data set, as `data.DATASETS` holds it by name.

    load: (data_dir, split) -> Dataset, for the splits "train", "validation" and "test", which never share an image and
      are the same on every machine; data_dir: where the data lie, None for the loader's own place. Images (B, H, W, C)
      uint8 or float32 in [0, 1], labels (B,) int32. It raises InputError for data that is missing or damaged.
    can_stream: `load` also takes max_images= and stream=, as `data.load` does, and reads no more than it must.
    is_embedded: it needs no data_dir.
    info, num_images: what it is and how many images "train", "validation" and "test" have, so that a plan need not read
      it; None where only reading tells.
    """

    load: Callable[..., Dataset]
    can_stream: bool = False
    is_embedded: bool = False
    info: DatasetInfo | None = None
    num_images: tuple[int, int, int] | None = None

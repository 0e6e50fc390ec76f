"""Images that stay in the records of a file until they are asked for: for sets that are larger than the memory."""

from collections.abc import Callable
from typing import Any

import numpy as np


class RecordImages:
    """The images of some records of a TFDS data source, read and decoded when they are indexed, as an array is.

    source: with `__getitems__(places) -> records`; places: (B,) of the records; shape: (H, W, C); to_image: what makes
    an image of that shape, uint8.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self,
        source: Any,
        places: np.ndarray,
        shape: tuple[int, int, int],
        to_image: Callable[[np.ndarray], np.ndarray] = lambda image: image,
    ) -> None:
        self._source, self._places, self._to_image = source, np.asarray(places), to_image
        self.shape = (len(self._places), *shape)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def nbytes(self) -> int:
        """What an array of them would take."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, indices: Any) -> np.ndarray:
        """The images at `indices`: of one index (H, W, C), of several (n, H, W, C)."""
        places = self._places[indices]
        records = self._source.__getitems__([int(place) for place in np.atleast_1d(places)])
        images = np.empty((len(records), *self.shape[1:]), np.uint8)
        for at, record in enumerate(records):
            images[at] = self._to_image(record["image"])
        return images if np.ndim(places) else images[0]

    def view(self, indices: np.ndarray | slice) -> "RecordImages":
        """Those at `indices`, still in their records."""
        return RecordImages(self._source, self._places[indices], self.shape[1:], self._to_image)

"""Lazily decoded images, for data sets larger than memory."""

from collections.abc import Callable
from typing import Any

import numpy as np


class RecordImages:
    """Images of a TFDS data source with the indexing of an array, read and decoded on access.

    source: has `__getitems__(places) -> records`; places: (B,) indices of the records; shape: (H, W, C) of one image;
    to_image: converts a decoded image to uint8 of that shape.
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
        """Size in bytes of the decoded images as one array."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, indices: Any) -> np.ndarray:
        """The images at `indices`: (H, W, C) for one index, (n, H, W, C) for several."""
        places = self._places[indices]
        records = self._source.__getitems__([int(place) for place in np.atleast_1d(places)])
        images = np.empty((len(records), *self.shape[1:]), np.uint8)
        for at, record in enumerate(records):
            images[at] = self._to_image(record["image"])
        return images if np.ndim(places) else images[0]

    def view(self, indices: np.ndarray | slice) -> "RecordImages":
        """The images at `indices` as `RecordImages`, without reading them."""
        return RecordImages(self._source, self._places[indices], self.shape[1:], self._to_image)

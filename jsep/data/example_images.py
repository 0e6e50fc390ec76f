"""A few real test images that come with the package, for tutorials and trials without a download."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jsep.checks import check_choice
from jsep.data.dataset import Dataset
from jsep.data.tensorflow_datasets import INFOS

FOLDER = Path(__file__).parent / "examples"
"""Where the images lie: one .npz a data set, with "images" (uint8), "labels" and "indices" into the test split."""

NUM_EXAMPLES = 12
"""Images of each data set."""


def examples(name: str) -> Dataset:
    """Twelve test images of a data set with labels, each classified correctly by every model of the zoo for it.

    >>> from jsep import data
    >>> images = data.examples("mnist")
    >>> images.as_float().shape, len(set(images.labels.tolist()))
    ((12, 28, 28, 1), 10)

    Args: name: "mnist" or "cifar10". Returns: a `Dataset` with every class, uint8 images.
    Raises: InputError for another name.
    """
    arrays = read_examples(name)
    return Dataset(arrays["images"], arrays["labels"], INFOS[name], "test")


def read_examples(name: str, folder: Path = FOLDER) -> Mapping[str, np.ndarray]:
    """The arrays of the file: "images", "labels", and "indices" of the images in the test split."""
    check_choice("data set with examples", name, sorted(path.stem for path in folder.glob("*.npz")))
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        return {part: file[part] for part in file.files}

"""scikit-learn's handwritten digits: 1,797 real 8x8 images that need no download."""

import numpy as np

from jsep.data.dataset import Dataset, DatasetInfo
from jsep.data.source import DataSource

INFO = DatasetInfo(
    name="digits",
    num_classes=10,
    image_shape=(8, 8, 1),
    mean=(0.3053,),
    std=(0.3761,),
    class_names=tuple(str(digit) for digit in range(10)),
    augment=False,
)

_SPLIT_SEED = 20240311
_NUM_VALIDATION, _NUM_TEST = 200, 400


def load(data_dir: str | None, split: str) -> Dataset:
    """A split of the digits: 1,197 training, 200 validation and 400 test images, fixed and stratified.

    Images are float32, grey level / 16, exact for the 17 original grey levels. `data_dir` is not used.
    """
    # Imported here: scikit-learn takes a second to load and only this data set needs it.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    source = load_digits()
    images = (source.images[..., None] / 16.0).astype(np.float32)
    labels = source.target.astype(np.int32)
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=_NUM_TEST, stratify=labels, random_state=_SPLIT_SEED
    )
    train, validation = train_test_split(
        rest, test_size=_NUM_VALIDATION, stratify=labels[rest], random_state=_SPLIT_SEED
    )
    indices = {"train": train, "validation": validation, "test": test}[split]
    return Dataset(images[indices], labels[indices], INFO, split)


SOURCE = DataSource(load, is_embedded=True, info=INFO)

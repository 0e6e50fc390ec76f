"""The part of a data set that a study uses."""

from jsep import data
from jsep.checks import InputError


def load_split(dataset: str, data_dir: str | None, split: str, count: int, stream: bool | None = None) -> data.Dataset:
    """`count` images of a split, stratified by class; all of them for 0; `stream`: as `data.load`.

    Raises: InputError when the data set is unknown, unreadable or has fewer images.
    """
    whole = data.load(dataset, data_dir=data_dir, split=split, stream=stream)
    if count > len(whole):
        raise InputError(f"{split}_images: {dataset} has {len(whole)} {split} images, got {count}")
    return data.stratified_subset(whole, count) if count else whole

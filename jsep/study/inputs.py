"""A checksum of all that a study is made from: images, labels, pairs, models and results of other studies."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jsep import data, models
from jsep.study.configuration import Configuration


def checksum_of(prepared: Any) -> str:
    """The SHA-256 of the values in nested containers and dataclasses. Configurations, which a run directory compares
    by itself, networks and functions do not count."""
    digest = hashlib.sha256()
    for part in _parts(prepared):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, data.Dataset):
        yield value.checksum()
    elif isinstance(value, Mapping):
        for name in sorted(value, key=str):
            yield repr(name).encode()
            yield from _parts(value[name])
    elif isinstance(value, list | tuple):
        yield f"{len(value)} of".encode()
        for each in value:
            yield from _parts(each)
    elif isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        yield f"{array.dtype} {array.shape} ".encode()
        yield array.tobytes()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type | Configuration | models.Classifier):
        for field in dataclasses.fields(value):
            yield from _parts(getattr(value, field.name))
    elif value is None or isinstance(value, str | bool | int | float):
        yield repr(value).encode()

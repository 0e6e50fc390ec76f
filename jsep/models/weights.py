"""Model weights in one small file: float16 arrays in an .npz without pickle."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jsep.checks import InputError
from jsep.files import write_arrays, write_whole
from jsep.types import PyTree

_LARGEST = float(np.finfo(np.float16).max)


def save_weights(path: str | Path, variables: PyTree) -> str:
    """Writes the variables of a model, rounded to float16, and returns the SHA-256 of the file.

    Rounding has a relative error of at most 2**-11 per value (more below 2**-14); the published model is the rounded
    one, so evaluate the variables that `load_weights` returns.

    Args: path: an .npz file, replaced as a whole; variables: nested dicts of arrays, as `models.init` returns them.
    Raises: InputError for a value that float16 cannot hold (not finite, or beyond 65,504).
    """
    arrays = {}
    for name, value in _flatten(variables).items():
        values = np.asarray(value, np.float32)
        if not (np.abs(values) <= _LARGEST).all():
            raise InputError(f"weights {name} must be finite and at most {_LARGEST:g} in size to be kept as float16")
        arrays[name] = values.astype(np.float16)
    path = Path(path).expanduser()
    content = io.BytesIO()
    write_arrays(content, arrays, compressed=True)
    write_whole(path, content.getvalue())
    return hashlib.sha256(content.getvalue()).hexdigest()


def load_weights(path: str | Path, like: PyTree | None = None, *, expected_sha256: str | None = None) -> PyTree:
    """The variables in a file written by `save_weights`, as float32.

    Args: like: variables of the intended model, whose names and shapes must match; expected_sha256: the hash that the
      file must have.
    Raises: InputError if the file cannot be read, has another hash, or does not match `like`.
    """
    try:
        content = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise InputError(f"weights {path} cannot be read ({error})") from error
    if expected_sha256 is not None and hashlib.sha256(content).hexdigest() != expected_sha256:
        raise InputError(f"weights {path} are damaged: SHA-256 is not {expected_sha256[:12]}...; get the file again")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # zipfile, zlib and NumPy each raise their own types for a damaged file
        raise InputError(f"weights {path} cannot be read ({error})") from error
    if like is not None:
        expected = {name: np.shape(value) for name, value in _flatten(like).items()}
        found = {name: value.shape for name, value in arrays.items()}
        if different := sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name)):
            name = different[0]
            raise InputError(
                f"weights {path} are of another model: {name} has shape {found.get(name)}, "
                f"expected {expected.get(name)}"
            )
    nested: dict[str, Any] = {}
    for name, value in arrays.items():
        *parents, last = name.split("/")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = jnp.asarray(value, jnp.float32)
    return nested


def _flatten(variables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Arrays by path, such as "params/head/kernel"."""
    found: dict[str, Any] = {}
    for name, value in variables.items():
        if isinstance(value, Mapping):
            found |= _flatten(value, f"{prefix}{name}/")
        else:
            found[f"{prefix}{name}"] = value
    return found

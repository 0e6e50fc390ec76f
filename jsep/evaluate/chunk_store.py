"""Finished chunks of a long evaluation on disk, so that a repeated call continues where an interrupted one ended."""

import hashlib
import io
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jsep.checks import InputError
from jsep.files import write_arrays, write_whole

_DIGEST = hashlib.sha256().digest_size


class ChunkStore:
    """Chunks of arrays in a directory, each file written atomically: an .npz, then its SHA-256.

    made_from: everything that determines the results (arrays, strings, numbers, trees of them); a store created from
    something else is refused.
    Raises: InputError for such a store, or when the directory cannot be written.
    """

    def __init__(self, path: str | Path, made_from: Any) -> None:
        self.path = Path(path).expanduser()
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(made_from):
            array = np.asarray(leaf)
            digest.update(f"{array.dtype} {array.shape} ".encode() + array.tobytes())
        self._digest = digest.hexdigest()[:16]
        owner = self.path / "made_from.txt"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if owner.exists() and owner.read_text() != self._digest:
                raise InputError(
                    f"{path} holds chunks of another evaluation (model, pairs, key or settings differ): remove it, or "
                    "give another directory"
                )
            owner.write_text(self._digest)
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror}); give another directory") from error

    def _file(self, first: int) -> Path:
        return self.path / f"chunk_{first:06d}.npz"

    def load(self, first: int) -> dict[str, np.ndarray] | None:
        """The chunk that begins at row `first`; None if it is missing or damaged."""
        try:
            content = self._file(first).read_bytes()
            arrays, digest = content[:-_DIGEST], content[-_DIGEST:]
            with np.load(io.BytesIO(arrays), allow_pickle=False) as file:
                return dict(file) if hashlib.sha256(arrays).digest() == digest else None
        except Exception:  # zipfile, zlib and NumPy each raise their own types for a damaged file
            return None

    def save(self, first: int, arrays: dict[str, np.ndarray]) -> None:
        """Writes the chunk that begins at row `first`."""
        content = io.BytesIO()
        write_arrays(content, arrays)
        write_whole(self._file(first), content.getvalue() + hashlib.sha256(content.getvalue()).digest())

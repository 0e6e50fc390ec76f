"""Finished chunks of a long evaluation on disk, so that a repeated call continues where an interrupted one ended."""

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jsep.checks import InputError


class ChunkStore:
    """Chunks of arrays in a directory, each file written atomically.

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
        """The chunk that begins at row `first`; None if it is missing or unreadable."""
        try:
            with self._file(first).open("rb") as stream, np.load(stream) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, first: int, arrays: dict[str, np.ndarray]) -> None:
        """Writes the chunk that begins at row `first`."""
        temporary = self.path / "chunk.tmp.npz"
        np.savez(temporary, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, self._file(first))

"""Files written as a whole or not at all, checksums that tell whether they are still as written, and a lock."""

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np

__all__ = ["FileLock", "checksum", "checksums_hold", "write_arrays", "write_checksums", "write_whole"]

_READ = 2**20


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file atomically; after an error neither the file nor a temporary one is left changed or behind."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_arrays(file: IO[bytes], arrays: dict[str, np.ndarray], *, compressed: bool = False) -> None:
    """Writes arrays to an open file in the format of .npz, without pickle."""
    save: Any = np.savez_compressed if compressed else np.savez
    save(file, **arrays)


def checksum(path: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_READ):
            digest.update(part)
    return digest.hexdigest()


def write_checksums(path: Path, files: Iterable[Path]) -> None:
    """Writes the checksums of files below the folder of `path`, in the format of `sha256sum --check`."""
    lines = [f"{checksum(file)}  {file.relative_to(path.parent).as_posix()}\n" for file in sorted(files)]
    write_whole(path, "".join(lines))


def checksums_hold(path: Path, files: Iterable[Path]) -> bool:
    """Whether these files, and no others, are listed in `path` and unchanged; False where `path` cannot be read."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        listed = {name: value for value, _, name in (line.partition("  ") for line in lines)}
        there = {file.relative_to(path.parent).as_posix(): file for file in files}
        return listed.keys() == there.keys() and all(checksum(there[name]) == value for name, value in listed.items())
    except (OSError, ValueError):
        return False


class FileLock:
    """A lock on a file that only one process holds at a time; it ends with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Takes the lock and returns True, or returns False while another process has it."""
        while True:
            file = self._path.open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The process that had the lock may have removed the file in the meantime.
                if os.path.samestat(os.fstat(file.fileno()), os.stat(self._path)):
                    self._file = file
                    return True
            except FileNotFoundError:
                pass
            except OSError:
                file.close()
                return False
            file.close()

    def release(self) -> None:
        """Gives the lock back and removes its file; nothing where it is not held."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DISK_FULL_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large")


def is_disk_full(error: BaseException) -> bool:
    """Whether an error reports a full disk, judged by its errno or its text."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _DISK_FULL
    return any(text in str(error) for text in _DISK_FULL_TEXTS)

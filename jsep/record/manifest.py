"""The manifest of a run directory: that jsep wrote it, from what, and the checksums of its files.

`manifest.json` is {"written_by": "jsep", "format", "version", "inputs", "devices", "parts", "files"}: the version of
jsep, a checksum of the inputs (images, models) and the devices that the run was begun with, the subdirectories that are
runs of their own, and name -> SHA-256 of each file that is read again. A directory without a manifest, as of an older
run, is read unchecked.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from jsep.checks import InputError
from jsep.files import checksum, write_whole
from jsep.record.row import FORMAT

MANIFEST = "manifest.json"
"""The name of the manifest in a run directory."""

_NEW: dict[str, Any] = {
    "written_by": "jsep", "format": FORMAT, "version": "", "inputs": "", "devices": "", "parts": [], "files": {},
}  # fmt: skip


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of a run directory; None where there is none. Raises: InputError where it is damaged."""
    path = directory / MANIFEST
    try:
        content = {"devices": "", **json.loads(path.read_bytes())}  # which older ones do not name
        known = content["written_by"] == _NEW["written_by"] and all(map(_is_list_of_text, content["files"].values()))
        if not known or any(type(content[name]) is not type(value) for name, value in _NEW.items()):
            raise ValueError("other entries were expected")
        return dict(content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error}); remove it to take the run's other files as they are") from error


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def write_manifest(directory: Path, **entries: Any) -> None:
    """Changes entries of the manifest of a run directory, begun where there is none."""
    content = read_manifest(directory) or _NEW
    write_whole(directory / MANIFEST, json.dumps(content | entries, indent=1) + "\n")


def write_listed(path: Path, content: str | bytes) -> None:
    """Writes a file of a run directory atomically and lists its checksum in the manifest."""
    content = content.encode() if isinstance(content, str) else content
    files = (read_manifest(path.parent) or {"files": {}})["files"]
    # The checksum of the file there stays beside the new one: a process that is killed here leaves the old file.
    old = checksum(path) if path.exists() else ""
    kept = [hashlib.sha256(content).hexdigest(), *(known for known in files.get(path.name, ()) if known == old)]
    write_manifest(path.parent, files=files | {path.name: kept})
    write_whole(path, content)


def read_listed(path: Path, advice: str = "get the file again") -> bytes:
    """The content of a file of a run directory. Raises: InputError where it is not what the manifest lists; OSError.

    Args: advice: what to do about a damaged file.
    """
    content = path.read_bytes()
    known = (read_manifest(path.parent) or {"files": {}})["files"].get(path.name)
    if known is not None and hashlib.sha256(content).hexdigest() not in known:
        raise InputError(f"{path} is not as it was written (its checksum in {MANIFEST} differs): it is damaged or was "
                         f"edited; {advice}, or remove {MANIFEST} to take it as it is")  # fmt: skip
    return content


def listed_checksum(directory: Path, name: str) -> str | None:
    """The checksum of a file that was written once; None where the manifest does not list it."""
    known = (read_manifest(directory) or {"files": {}})["files"].get(name)
    return None if known is None else known[0]

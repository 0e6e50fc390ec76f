"""The files that jsep wrote into a run directory, told apart from all others, so that only they are ever removed."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from jsep.checks import InputError
from jsep.record.manifest import read_manifest
from jsep.report.style import SOFTWARE

REPLACED = ".replaced"
"""The folder with the run that is being replaced, until the new one has its first result."""

LOCK = ".lock"
"""The file that the process of a run has locked."""

MOVING = ".replaced.tmp"
"""Its name until all of the run is in it."""

_OWN = re.compile(
    r"(config|manifest|result|pairs|sep_weights)\.json|flags\.flags|metrics\.jsonl|(maps|values)\.npz|index\.html"
    r"|checkpoints/\w+/(config\.json|\d+\.sha256|\d+(\.orbax-checkpoint-tmp[^/]*)?/.+|tmp)"
    r"|tensorboard/\w+/events\.out\.tfevents\..+|chunks/(.+/)?(made_from\.txt|chunk_\w+\.npz)|\.lock"
)
_TEMPORARY = re.compile(
    r"(.+\.json|.+\.jsonl|.+\.npz|.+\.txt|.+\.part|flags\.flags)\.tmp|\.[\w-]+\.(png|html)\.\d+\.tmp"
)


def is_run(directory: Path) -> bool:
    """Whether a directory holds a run: it has a manifest, or, of an older version, both files of a configuration."""
    if read_manifest(directory) is not None:
        return True
    flagfile = directory / "flags.flags"
    try:
        return (directory / "config.json").is_file() and flagfile.read_bytes().startswith(b"--experiment=")
    except OSError:
        return False


def _files(directory: Path) -> Iterator[tuple[Path, bool]]:
    """Each file below a run directory, or empty folder, and whether jsep wrote it."""
    manifest = read_manifest(directory) or {"parts": [], "files": {}}
    listed = set(manifest["files"])
    for folder, folders, names in os.walk(directory):
        here = Path(folder)
        if here == directory:
            for part in set(manifest["parts"]) & set(folders):
                folders.remove(part)
                yield from _files(directory / part)
            if REPLACED in folders:
                folders.remove(REPLACED)
        links = [name for name in folders if (here / name).is_symlink()]
        for name in (*names, *links):
            path = here / name
            own = path.relative_to(directory).as_posix()
            yield path, own in listed or bool(_OWN.fullmatch(own) or _TEMPORARY.fullmatch(name)) or _is_figure(path)


def _is_figure(path: Path) -> bool:
    if path.suffix != ".png":
        return False
    with path.open("rb") as file:
        return b"Software\0" + SOFTWARE.encode() in file.read(4096)


def check_may_replace(directory: Path) -> None:
    """Raises: InputError for a directory that holds this process's own, or a file that jsep did not write."""
    if Path.cwd().is_relative_to(directory.resolve()):
        raise InputError(f"run_dir {directory} is the current directory or one above it, which is never replaced")
    foreign = [path for path, is_own in _files(directory) if not is_own]
    if foreign:
        names = ", ".join(str(path.relative_to(directory)) for path in foreign[:3])
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise InputError(
            f"run_dir {directory} also holds what jsep did not write ({names}{more}); move that away, or choose "
            "another directory"
        )


def remove(directory: Path) -> None:
    """Removes the run in a directory file by file, then the folders that are empty; a foreign file stays."""
    for path, is_own in list(_files(directory)):
        if is_own and path.name != LOCK:
            path.unlink()
    for name, _, _ in list(os.walk(directory, topdown=False)):
        folder = Path(name)
        if folder != directory and REPLACED not in folder.relative_to(directory).parts and not os.listdir(folder):
            folder.rmdir()


def remove_temporary(directory: Path) -> None:
    """Removes what a killed process left half written."""
    for path in directory.iterdir():
        if path.is_file() and _TEMPORARY.fullmatch(path.name):
            path.unlink()


def set_aside(directory: Path) -> None:
    """Moves the run into REPLACED; one there already, whose replacement got no result, stays instead of it."""
    put_back(directory, MOVING)
    if (directory / REPLACED).is_dir():
        remove(directory)
        return
    (directory / MOVING).mkdir()
    for path in list(directory.iterdir()):
        if path.name not in (LOCK, MOVING):
            path.rename(directory / MOVING / path.name)
    (directory / MOVING).rename(directory / REPLACED)


def put_back(directory: Path, folder: str = REPLACED) -> None:
    """Moves a run that was set aside back to its place."""
    aside = directory / folder
    if not aside.is_dir():
        return
    if folder == REPLACED:
        remove(directory)
    for path in list(aside.iterdir()):
        path.rename(directory / path.name)
    aside.rmdir()


def remove_replaced(directory: Path) -> None:
    """Removes the run that was set aside."""
    aside = directory / REPLACED
    if aside.is_dir():
        remove(aside)
        if not os.listdir(aside):
            aside.rmdir()

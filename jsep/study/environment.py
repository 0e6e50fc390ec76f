"""The provenance of a result: versions, device, commit, command."""

import datetime
import functools
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

# Results, which recipes write one after the other, and Markdown files, which no run reads, do not count as changes.
_WRITTEN = (":(top)", ":(top,exclude)results", ":(top,exclude,glob)**/*.md")
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scikit-learn")


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=directory, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def commit_of(directory: Path) -> str:
    """The commit of the checkout around a directory, and whether files differ from it; "unknown" outside a checkout."""
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return "unknown"
    is_changed = bool(_git(directory, "status", "--porcelain", "--untracked-files=no", "--", *_WRITTEN))
    return f"{commit} (with local changes)" if is_changed else commit


@functools.cache
def version() -> str:
    """The version of the library that runs, with the commit of its checkout if it is in one."""
    from jsep import __version__

    commit = _git(Path(__file__).parent, "rev-parse", "HEAD")
    return __version__ if commit is None else f"{__version__} (commit {commit[:12]})"


def describe() -> dict[str, str | int]:
    """JSON-like provenance: versions, device, the library's commit ("unknown" outside a checkout), command, date."""
    from jsep import __version__

    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "unknown"
    device = jax.devices()[0]
    return {
        "jsep": __version__,
        "python": platform.python_version(),
        **versions,
        "platform": device.platform,
        "device": device.device_kind,
        "num_devices": jax.device_count(),
        "num_cpus": os.cpu_count() or 0,
        "commit": commit_of(Path(__file__).parent),
        "command": _command(sys.argv),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def devices_in_use(num_devices: int) -> str:
    """The devices that a run computes on, such as "1 x cpu" or "8 x NVIDIA H200"."""
    return f"{num_devices} x {jax.devices()[0].device_kind}"


def _command(argv: Sequence[str]) -> str:
    """The command with the script's path relative to here: `make paper` uses the absolute path of this machine."""
    if argv[0].startswith("jsep "):
        return f"{argv[0]} {shlex.join(argv[1:])}"
    script, here = Path(argv[0]), Path.cwd()
    return shlex.join(["python", str(script.relative_to(here)) if script.is_relative_to(here) else argv[0], *argv[1:]])

"""The recipes that come with the package: flagfiles by name, `--flagfile=digits_sep`."""

import re
from collections.abc import Sequence
from pathlib import Path

_SHIPPED = Path(__file__).parent
_CHECKOUT = Path(__file__).parents[2] / "experiments"


def folder(name: str = "flags") -> Path:
    """Where the recipes lie, or the "sweeps": in a checkout in experiments/, which a build copies into the package."""
    return _SHIPPED / name if (_SHIPPED / name).is_dir() else _CHECKOUT / name


def names() -> list[str]:
    """The names of all recipes."""
    return sorted(path.stem for path in folder().glob("*.flags"))


def resolve(argv: Sequence[str]) -> list[str]:
    """The arguments with the name of a recipe in --flagfile=NAME replaced by its file, also where it is called
    experiments/flags/NAME.flags, as in a checkout.

    A file of that name wins; another path or an unknown name stays as it is.
    """
    found = list(argv)
    for index, argument in enumerate(found):
        given = re.fullmatch(r"--?flagfile=(?:experiments/flags/)?([\w-]+)(?:\.flags)?", argument)
        if given and not Path(given[1]).is_file() and (folder() / f"{given[1]}.flags").is_file():
            found[index] = f"--flagfile={folder() / given[1]}.flags"
    return found


def sweep_file(given: str) -> Path:
    """The file of a sweep: `given` where it exists, else the one of that name that comes with the package."""
    path, shipped = Path(given), folder("sweeps") / f"{Path(given).stem}.json"
    return shipped if not path.is_file() and shipped.is_file() else path


def listing() -> str:
    """Every recipe with its script, question and device, a block for each script."""
    blocks: dict[str, list[str]] = {}
    for name in names():
        text = (folder() / f"{name}.flags").read_text(encoding="utf-8")
        script = re.search(r"# Command: +python experiments/(\w+)\.py", text)
        device = re.search(r"# Device: +([^,;(\n]*(?:, [\d.]+ (?:to [\d.]+ )?(?:minutes|hours?))?)", text)
        row = f"  {name:<32}{device[1].strip() if device else ''}"
        blocks.setdefault(script[1] if script else "?", []).append(row)
    return "\n".join("\n".join([f"jsep {script} --flagfile=", *rows]) for script, rows in sorted(blocks.items()))

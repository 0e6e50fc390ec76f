"""Recipes: the script, flagfile and models of other recipes behind each folder of results/."""

import dataclasses
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsep import data, record
from jsep.checks import InputError, check_choice
from jsep.study.configuration import Configuration, setting
from jsep.study.sweep import read_spec

SETS = ("quick", "full", "apart")
"""For 2 CPU cores, for one GPU, and for resources that are not at hand ("why" names them)."""

_KEYS = ("name", "flagfile", "flags", "result", "run_dir", "after", "why")
_REFERENCE = re.compile(r"\{(\w+)\}")


@dataclasses.dataclass(frozen=True)
class RecipesConfig(Configuration):
    """The recipes to run, and the folder of their results. The help text of each field is its documentation."""

    recipes: str = setting("experiments/paper.json", "the table of recipes")
    recipe_set: str = setting("quick", "which of them", choices=SETS[:2])
    only: tuple[str, ...] = setting((), "names of recipes, with what they need; default: all that are chosen")
    data_dir: str | None = setting(None, "TFDS data directory; default: TFDS's own; downloaded there if absent")
    tiny_imagenet_dir: str | None = setting(None, "directory of TinyImageNet; default: data_dir")
    results_dir: str = setting("results", "where result.json and figures of a finished run are copied")
    dry_run: bool = setting(False, "print the commands and the minutes that the flagfiles name; run nothing")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One run: its name, its set, its flagfile, the flags that it overrides, its run directory, the recipes that it
    needs first, whether its result is copied to results/<name>, and why it is not run with the others."""

    name: str
    chosen: str
    flagfile: str
    flags: Mapping[str, str]
    run_dir: str | None
    after: tuple[str, ...]
    has_result: bool
    why: str


def read_recipes(path: str | Path) -> dict[str, Recipe]:
    """The recipes of a JSON file by name, in its order. "{name}" in a value stands for another recipe's run directory.

    Raises: InputError where the file cannot be read, or a recipe needs one that is not listed before it.
    """
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"recipes {path} cannot be read ({error}); give a file such as experiments/paper.json"
        ) from error
    found: dict[str, Recipe] = {}
    for chosen, entries in table.items():
        check_choice(f"set of recipes {path}", chosen, SETS)
        for entry in entries:
            for key in entry:
                check_choice(f"key of recipes {path}", key, _KEYS)
            recipe = _recipe(chosen, entry)
            if recipe.name in found:
                raise InputError(f"recipes {path}: {recipe.name} is there twice; give each a name of its own")
            if missing := [name for name in recipe.after if name not in found]:
                raise InputError(f"recipes {path}: {recipe.name} needs {', '.join(missing)}, which must come before it")
            found[recipe.name] = recipe
    return found


def _recipe(chosen: str, entry: Mapping[str, Any]) -> Recipe:
    flags = {name: str(value) for name, value in entry.get("flags", {}).items()}
    named = [name for value in flags.values() for name in _REFERENCE.findall(value)]
    return Recipe(
        name=entry["name"],
        chosen=chosen,
        flagfile=f"experiments/flags/{entry.get('flagfile', entry['name'])}.flags",
        flags=flags,
        run_dir=entry.get("run_dir"),
        after=tuple(dict.fromkeys([*entry.get("after", ()), *named])),
        has_result=entry.get("result", True),
        why=entry.get("why", ""),
    )


def choose(recipes: Mapping[str, Recipe], chosen: str, only: Sequence[str] = ()) -> list[Recipe]:
    """The recipes of the set `chosen`, or those in `only`, with the recipes that they need, in the file's order."""
    for name in only:
        check_choice("recipe", name, recipes)
    wanted = set(only) or {recipe.name for recipe in recipes.values() if recipe.chosen == chosen}
    for recipe in reversed(list(recipes.values())):  # a recipe's requirements are listed before it
        if recipe.name in wanted:
            wanted |= set(recipe.after)
    return [recipe for recipe in recipes.values() if recipe.name in wanted]


def header(flagfile: str | Path) -> dict[str, str]:
    """ "script", "question", "device" and "minutes" of a flagfile's header; minutes is "" where not given.

    Raises: InputError where the file does not exist or names no command.
    """
    try:
        text = Path(flagfile).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{flagfile} cannot be read ({error.strerror}); it is named by a recipe") from error
    found = {}
    for word in ("Question", "Device"):
        lines = re.search(rf"^# {word}:(.*(?:\n# {{5,}}.*)*)", text, re.MULTILINE)
        found[word.lower()] = " ".join(lines[1].replace("\n#", " ").split()) if lines else ""
    script = re.search(r"# Command: +python experiments/(\w+)\.py", text)
    if script is None:
        raise InputError(f"{flagfile} has no header line such as '# Command:  python experiments/digits_sep.py ...'")
    minutes = re.search(r"([\d.]+)(?: to [\d.]+)? minutes", found["device"])
    return {**found, "script": script[1], "minutes": minutes[1] if minutes else ""}


def run_dirs(recipes: Mapping[str, Recipe], root: str | Path) -> dict[str, Path]:
    """name -> run directory: <root>/<name>, except where other recipes expect another one."""
    return {name: Path(recipe.run_dir) if recipe.run_dir else Path(root) / name for name, recipe in recipes.items()}


def _dataset(flagfile: str | Path) -> str:
    """The data set of a recipe, for a sweep that of its runs; default: the embedded "digits"."""
    text = Path(flagfile).read_text(encoding="utf-8")
    spec = re.search(r"^--spec=(\S+)", text, re.MULTILINE)
    if spec and (of_runs := read_spec(spec[1]).flagfile):
        return _dataset(of_runs)
    dataset = re.search(r"^--dataset=(\w+)", text, re.MULTILINE)
    return dataset[1] if dataset else "digits"


def arguments(recipe: Recipe, config: RecipesConfig, directories: Mapping[str, Path]) -> list[str]:
    """The arguments of the recipe's script, without run_dir; with data_dir where its data set is not embedded."""
    found = [f"--flagfile={recipe.flagfile}"]
    for name, value in recipe.flags.items():
        found.append(f"--{name}={_REFERENCE.sub(lambda match: str(directories[match[1]]), value)}")
    dataset = _dataset(recipe.flagfile)
    source = data.DATASETS.get(dataset)
    if source is None or not source.is_embedded:
        own = config.tiny_imagenet_dir if dataset == "tiny_imagenet" else None
        if (own or config.data_dir) is not None:
            found.append(f"--data_dir={own or config.data_dir}")
    return found


_DRAWN_FROM = ("maps.npz", "metrics.jsonl")
_LARGEST_KEPT = 2 * 2**20


def keep(run_dir: str | Path, target: str | Path) -> list[str]:
    """Copies result.json and the figures of a finished run to `target`, replacing its previous contents.

    Of the figures of single attacked pairs only the first method's is copied, as in the paper. What the page is drawn
    from, maps and training curves, comes along where it is at most 2 MiB, so that the page can be drawn again.
    Returns: the names of the files copied; none where the run is not complete.
    """
    source, target = Path(run_dir), Path(target)
    if not (source / "result.json").exists() or not record.read_json(source).get("complete", True):
        return []
    target.mkdir(parents=True, exist_ok=True)
    for old in (*target.glob("*.png"), *(target / name for name in _DRAWN_FROM)):
        old.unlink(missing_ok=True)
    attacks = sorted(source.glob("attack_*.png"), key=lambda path: (path.stem != "attack_mat", path.stem))
    figures = [path for path in sorted(source.glob("*.png")) if path not in attacks[1:]]
    small = [path for name in _DRAWN_FROM if (path := source / name).exists() and path.stat().st_size <= _LARGEST_KEPT]
    kept = [source / "result.json", *figures, *small]
    for path in kept:
        shutil.copyfile(path, target / path.name)
    return [path.name for path in kept]

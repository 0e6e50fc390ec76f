"""What the full recipes need on devices that are not at hand: each compiled for each of them.

python benchmarks/accelerators.py --targets t4 h200        # in an environment with "jsep[aot-cuda]"
python benchmarks/accelerators.py --targets tpu-v5e        # in one with "jsep[aot-tpu]"

Every recipe of experiments/paper.json that trains from scratch is compiled as `--dry_run --target` compiles it: the
training step with most terms, PGD in tests, the attack on explanations, in one to ten minutes on two cores. What the
result file has for the same settings, target and version of JAX is not compiled again. `render.py` makes the table.
"""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time
from typing import Any

from jsep import cli
from jsep.study import recipes

ROOT = pathlib.Path(__file__).resolve().parents[1]
OUT = ROOT / "benchmarks" / "results" / "accelerators.json"
TARGETS = ("t4", "h200", "tpu-v5e")
ALSO = ("cifar10_sep_colab_t4", "cifar10_sep_colab_v5e")
"""Recipes for these devices that are no full ones."""

REFUSED = "the compiler refuses"
"""In the error of a program that the compiler has no memory for, or cannot compile."""


def full_recipes() -> dict[str, recipes.Recipe]:
    """name -> recipe of a study that trains from scratch, whose flagfile says all of it: the full ones and `ALSO`."""
    known = recipes.read_recipes(ROOT / "experiments" / "paper.json").values()
    chosen = [each for each in known if each.chosen == "full" and "start_from" not in each.flags]
    chosen += [each for each in known if each.name in ALSO]
    return {each.name: each for each in chosen if cli.SCRIPTS[script_of(each)].kind == "StudyConfig"}


def script_of(recipe: recipes.Recipe) -> str:
    """The script that a recipe's flagfile is for."""
    return recipes.header(ROOT / recipe.flagfile)["script"]


def fingerprint(recipe: recipes.Recipe) -> str:
    """Changes where the recipe does."""
    text = (ROOT / recipe.flagfile).read_text() + json.dumps(dict(recipe.flags), sort_keys=True)
    settings = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return hashlib.sha256(settings.encode()).hexdigest()[:16]


def compile_one(script: str, target: str, arguments: list[str]) -> None:
    """Prints the needs of one recipe on one target as JSON; in a process of its own, whose memory ends with it."""
    from absl import flags

    from jsep import study
    from jsep.cli import command_line

    defaults = cli.defaults_of(script)
    command_line.define_study_flags(defaults)
    flags.FLAGS([script, *arguments])
    plan = study.plan_on(command_line.parsed_config(type(defaults)), target)
    parts = [
        {"what": part.what, "count": part.count, "setting": part.setting, "fits": part.fits, "flops": part.flops,
         "bytes": part.memory.total}
        for part in plan.parts
    ]  # fmt: skip
    described = {name: getattr(plan.target, name) for name in ("memory", "flops", "precision")}
    print(json.dumps({"target": described, "parts": parts, "flops": plan.flops}))


def needs(recipe: recipes.Recipe, target: str, minutes: float) -> dict[str, Any]:
    """What `compile_one` prints, with the seconds that it took; "error" where it failed."""
    arguments = [f"--flagfile={ROOT / recipe.flagfile}", *(f"--{name}={value}" for name, value in recipe.flags.items())]
    started = time.monotonic()
    command = [sys.executable, __file__, "--one", script_of(recipe), target, *arguments]
    own = {**os.environ, "JAX_PLATFORMS": "cpu"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60 * minutes, env=own, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"not compiled within {minutes:g} minutes"}
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1][:300]}
    return {**json.loads(done.stdout.splitlines()[-1]), "seconds": round(time.monotonic() - started)}


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        return compile_one(sys.argv[2], sys.argv[3], sys.argv[4:])
    import jax

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="*", default=list(TARGETS))
    parser.add_argument("--only", nargs="*", help="names of recipes; default: all that train")
    parser.add_argument("--minutes", type=float, default=30, help="time for one recipe on one target")
    parser.add_argument("--out", type=pathlib.Path, default=OUT, help="result file; what it has is not compiled again")
    settings = parser.parse_args()
    found: dict[str, Any] = json.loads(settings.out.read_text()) if settings.out.exists() else {}
    for name, recipe in full_recipes().items():
        for target in settings.targets:
            made_of = {"settings": fingerprint(recipe), "jax": jax.__version__}
            before = found.get(name, {}).get(target, {})
            if (settings.only is not None and name not in settings.only) or made_of.items() <= before.items():
                continue
            entry = {**made_of, **needs(recipe, target, settings.minutes)}
            if "error" in entry:
                print(f"{name} on {target}: {entry['error']}", file=sys.stderr, flush=True)
                if REFUSED not in entry["error"]:
                    continue  # nothing that says something of the recipe
            if "seconds" in entry:
                print(f"{name} on {target}: {entry['seconds']} s", flush=True)
            found.setdefault(name, {})[target] = entry
            settings.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

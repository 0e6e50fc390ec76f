"""All recipes of the paper's tables and figures, one after the other; their results go to results/.

python experiments/paper.py --recipe_set=quick --data_dir=DIR
Finished recipes are skipped and stopped ones continued. A failed recipe stops no other; failures are listed and give
exit code 1. Only complete results are copied to results/; results/README.md is then rendered anew.
"""

import pathlib
import shlex
import signal
import subprocess
import sys

from absl import flags

from jsep import study
from jsep.checks import InputError
from jsep.cli import command_line, runs
from jsep.study import recipes, sweep_engines
from jsep.study.sweep import error_line

EXIT_FAILED = 1
EXPERIMENTS = pathlib.Path(__file__).parent

DEFAULTS = study.RecipesConfig.of(experiment="paper")

Directories = dict[str, pathlib.Path]


def _begin(recipe: recipes.Recipe, config: study.RecipesConfig, directories: Directories) -> tuple[str, list[str]]:
    """The state of a recipe's directory, and the command that starts or continues the recipe."""
    script = recipes.header(recipe.flagfile)["script"]
    own = tuple(recipes.arguments(recipe, config, directories))
    run = study.PlannedRun(recipe.name, directories[recipe.name], own)
    found = runs.states(script, [run])[recipe.name]
    return found["state"], runs.command(script, run, found, flags.FLAGS.overwrite)


def _dry_run(chosen: list[recipes.Recipe], config: study.RecipesConfig, directories: Directories) -> None:
    minutes = 0.0
    for recipe in chosen:
        about = recipes.header(recipe.flagfile)
        own = recipes.arguments(recipe, config, directories)
        whole = [*runs.program(about["script"]), *own, f"--run_dir={directories[recipe.name]}"]
        command = shlex.join(runs.shown(whole))
        minutes += float(about["minutes"] or 0)
        print(f"{about['minutes'] or '?':>5} min  {recipe.name}: {command}")
    print(f"{len(chosen)} recipes, {minutes:g} minutes by their flagfiles (? not known); nothing was started")


def _run(recipe: recipes.Recipe, command: list[str], log: pathlib.Path) -> str:
    """The error of a run; "" where it finished. An interrupt is passed on to the run as Ctrl-C."""
    task = sweep_engines.Task(recipe.name, tuple(command), log)
    process = sweep_engines.start(task, {}, lock_seconds=0)
    if process is None:
        return "another process works in this run's directory; wait for it or stop it"
    try:
        code = process.wait()
    finally:
        if process.poll() is None:
            sweep_engines.stop([process])
    return error_line(log) or f"exit code {code}" if code else ""


def main() -> None:
    """Runs the recipes that the flags choose, copies their results and lists those that failed."""
    config = command_line.parsed_config(study.RecipesConfig)
    root = pathlib.Path(flags.FLAGS.run_dir or "runs/paper")
    table = recipes.read_recipes(config.recipes)
    chosen = recipes.choose(table, config.recipe_set, config.only)
    directories = recipes.run_dirs(table, root)
    if config.dry_run:
        return _dry_run(chosen, config, directories)
    # On SIGTERM the current run is stopped first, as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        failed = _run_all(chosen, config, directories, root / "logs")
    except KeyboardInterrupt:
        print(f"error: interrupted; continue with: {shlex.join(['python', *sys.argv])}", file=sys.stderr)
        sys.exit(command_line.EXIT_INTERRUPTED)
    if pathlib.Path(config.results_dir).resolve() == EXPERIMENTS.parent.resolve() / "results":
        subprocess.run([sys.executable, str(EXPERIMENTS / "render_results.py")], check=True)
    if failed:
        print(f"{len(failed)} of {len(chosen)} recipes failed:")
        print("\n".join(f"  {name}: {why}" for name, why in failed.items()))
        sys.exit(EXIT_FAILED)
    print(f"{len(chosen)} recipes finished")


def _run_all(
    chosen: list[recipes.Recipe], config: study.RecipesConfig, directories: Directories, logs: pathlib.Path
) -> dict[str, str]:
    """Runs one recipe after the other and copies their results. Returns: failed recipe -> its error."""
    failed: dict[str, str] = {}
    for place, recipe in enumerate(chosen, 1):
        shown = f"{place} of {len(chosen)}: {recipe.name}"
        log = logs / f"{recipe.name}.log"
        if lost := [name for name in recipe.after if name in failed]:
            failed[recipe.name] = f"needs {', '.join(lost)}"
        else:
            try:
                state, command = _begin(recipe, config, directories)
                print(f"{shown}, {'skipped: finished before' if state == 'finished' else 'runs'}", flush=True)
                error = "" if state == "finished" else _run(recipe, command, log)
            except InputError as bad:
                error = str(bad)
            if error:
                failed[recipe.name] = f"{error}; log: {log}" if log.exists() else error
        if recipe.name in failed:
            print(f"{shown}, failed: {failed[recipe.name]}", flush=True)
        elif recipe.has_result:
            kept = recipes.keep(directories[recipe.name], pathlib.Path(config.results_dir) / recipe.name)
            print(f"  {config.results_dir}/{recipe.name}: {', '.join(kept) or 'nothing, the result is not complete'}")
    return failed


if __name__ == "__main__":
    command_line.define_flags(DEFAULTS)
    command_line.main(main)

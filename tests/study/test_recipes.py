"""The table of recipes: complete, in an order that works, and its results copied only when they are whole."""

import json
import pathlib
import subprocess

import pytest

from jsep import record
from jsep.checks import InputError
from jsep.study import environment, recipes

ROOT = pathlib.Path(__file__).parents[2]
TABLE = recipes.read_recipes(ROOT / "experiments" / "paper.json")
FLAGFILES = {path.stem for path in (ROOT / "experiments" / "flags").glob("*.flags")}


def test_every_result_of_the_papers_items_has_its_recipe() -> None:
    folders = {folder for item in record.PAPER_ITEMS for folder in item.results}
    with_result = {recipe.name for recipe in TABLE.values() if recipe.has_result}
    assert folders <= with_result, "names are unique in the table, so each has one"


def test_every_flagfile_belongs_to_a_recipe_and_the_other_way_round() -> None:
    used = {pathlib.Path(recipe.flagfile).stem for recipe in TABLE.values()}
    assert FLAGFILES - used == {name for name in FLAGFILES if name.endswith("_smoke")}
    assert used - FLAGFILES == set()
    scripts = {path.stem for path in (ROOT / "experiments").glob("*.py")}
    assert {recipes.header(ROOT / recipe.flagfile)["script"] for recipe in TABLE.values()} <= scripts
    assert all(bool(recipe.why) == (recipe.chosen == "apart") for recipe in TABLE.values())


def test_every_folder_of_results_has_its_recipe() -> None:
    folders = {path.parent.name for path in (ROOT / "results").glob("*/result.json")}
    assert folders <= {recipe.name for recipe in TABLE.values() if recipe.has_result}


def write_table(path: pathlib.Path, entries: list) -> pathlib.Path:
    path.write_text(json.dumps({"quick": entries}))
    return path


def test_a_recipe_names_the_run_directories_that_it_reads(tmp_path, monkeypatch) -> None:
    entries = [
        {"name": "models", "flagfile": "one", "run_dir": "elsewhere", "result": False},
        {"name": "other", "flagfile": "one"},
        {"name": "study", "flagfile": "two", "flags": {"study_dirs": "{models},{other}/*"}, "after": ["other"]},
    ]
    table = recipes.read_recipes(write_table(tmp_path / "table.json", entries))
    assert table["study"].after == ("other", "models")
    assert [recipe.name for recipe in recipes.choose(table, "quick", ["other"])] == ["other"]
    assert [recipe.name for recipe in recipes.choose(table, "quick", ["study"])] == ["models", "other", "study"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments" / "flags").mkdir(parents=True)
    for name, dataset in (("one", "tiny_imagenet"), ("two", "digits")):
        text = (
            f"# Command:  python experiments/{name}_sep.py\n# Device:   2 CPU cores, 3.5 minutes\n--dataset={dataset}\n"
        )
        (tmp_path / "experiments" / "flags" / f"{name}.flags").write_text(text)
    directories = recipes.run_dirs(table, "runs/paper")
    config = recipes.RecipesConfig.of(data_dir="/tfds")
    assert recipes.arguments(table["study"], config, directories) == [
        "--flagfile=experiments/flags/two.flags", "--study_dirs=elsewhere,runs/paper/other/*"
    ]  # fmt: skip
    assert recipes.arguments(table["other"], config, directories)[1:] == ["--data_dir=/tfds"]
    config = recipes.RecipesConfig.of(data_dir="/tfds", tiny_imagenet_dir="/tiny")
    assert recipes.arguments(table["other"], config, directories)[1:] == ["--data_dir=/tiny"]
    about = recipes.header(table["other"].flagfile)
    assert (about["script"], about["minutes"]) == ("one_sep", "3.5")


def test_a_sweep_is_given_the_directory_of_its_runs_data_set(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    directories = recipes.run_dirs(TABLE, tmp_path)
    config = recipes.RecipesConfig.of(data_dir="/tfds", tiny_imagenet_dir="/tiny")
    assert "--data_dir=/tfds" in recipes.arguments(TABLE["sep_weight"], config, directories)
    for name in ("sep_weight_digits", "digits_sep"):
        assert not [flag for flag in recipes.arguments(TABLE[name], config, directories) if "data_dir" in flag]


def test_results_and_pages_that_recipes_write_are_no_local_changes(tmp_path) -> None:
    def git(*words: str) -> str:
        settings = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *settings, *words], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    assert environment.commit_of(tmp_path) == "unknown"
    files = [tmp_path / name for name in ("results/one/result.json", "docs/page.md", "README.md", "jsep/model.py")]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("before")
    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "-m", "all")
    commit = git("rev-parse", "HEAD").strip()
    for path in files[:-1]:
        path.write_text("after")
    assert environment.commit_of(tmp_path / "jsep") == commit
    files[-1].write_text("after")
    assert environment.commit_of(tmp_path / "jsep") == f"{commit} (with local changes)"


def test_command_of_a_result_names_the_script_from_where_it_was_started(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path.parent / "script.py"
    for script, named in ((tmp_path / "a" / "script.py", "a/script.py"), ("script.py", "script.py"), (elsewhere,) * 2):
        monkeypatch.setattr(environment.sys, "argv", [str(script), "--flag=1"])
        assert environment.describe()["command"] == f"python {named} --flag=1"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"name": "one"}, {"name": "one"}], "one is there twice"),
        ([{"name": "one", "flags": {"models": "{two}"}}, {"name": "two"}], "one needs two, which must come before it"),
        ([{"name": "one", "flag": {}}], "did you mean 'flags'"),
    ],
)
def test_a_bad_table_is_refused(entries: list, message: str, tmp_path) -> None:
    with pytest.raises(InputError, match=message):
        recipes.read_recipes(write_table(tmp_path / "table.json", entries))


def test_only_a_whole_result_is_kept_and_old_figures_go(tmp_path) -> None:
    run_dir, target = tmp_path / "run", tmp_path / "results" / "one"
    run_dir.mkdir()
    assert recipes.keep(run_dir, target) == []
    (run_dir / "result.json").write_text(json.dumps({"format": 2, "complete": False}))
    assert recipes.keep(run_dir, target) == []
    assert not target.exists()
    (run_dir / "result.json").write_text(json.dumps({"format": 2, "complete": True}))
    for name in ("overview", "attack_sep_pos", "attack_mat"):
        (run_dir / f"{name}.png").write_bytes(name.encode())
    target.mkdir(parents=True)
    (target / "old.png").write_bytes(b"old")
    kept = recipes.keep(run_dir, target)
    assert kept == ["result.json", "attack_mat.png", "overview.png"]
    assert sorted(path.name for path in target.iterdir()) == sorted(kept)

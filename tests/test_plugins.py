"""What somebody adds without touching the package: one registry line each, and the whole of a study knows it."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import script_runs

from jsep import attack, data, devices, evaluate, explain, models, record, study, train
from jsep.checks import InputError
from jsep.study import groups
from jsep.study.methods import mark_degraded
from jsep.types import Array, Key, LogitsFn, ModelFn, PyTree

KEY = jax.random.key(0)
TINY = study.StudyConfig.of(
    experiment="plugins", num_seeds=1, train_images=64, validation_images=20, test_images=30, epochs=1, batch_size=32,
    optimizer="adamw", learning_rate=0.003, epsilon=0.1, alpha=0.05, num_steps=1, test_num_steps=1,
    sep_weight_pos=300.0, sep_weight_neg=-300.0, explanation_num_steps=2, num_clusters=2, num_pairs=3, feature_epochs=1,
    gallery_pairs=1,
)  # fmt: skip


# A training objective: MART, Wang et al. 2020, equation 12.


@dataclasses.dataclass(frozen=True)
class MartConfig:
    """mart_weight: lambda of the misclassification-aware divergence, >= 0."""

    mart_weight: float = 5.0


def make_mart(model_fn: ModelFn, batch_fn: Any, inner: train.InnerAttack, config: MartConfig) -> Any:
    """mean BCE(p(x'), y) + mart_weight * mean KL(p(x) || p(x')) (1 - p_y(x))."""

    def objective(key: Key, params: PyTree, batch_stats: PyTree, images: Array, labels: Array) -> Any:
        variables = {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}
        attacked = train.adversarial_images(key, model_fn, variables, images, labels, inner.pgd)
        clean = jax.nn.log_softmax(batch_fn(variables, images, train=True)[0])
        logits, stats = batch_fn(variables, attacked, train=True)
        log = jax.nn.log_softmax(logits)
        own = jax.nn.one_hot(labels, logits.shape[-1])
        cross_entropy = -jnp.sum(own * log, axis=-1)
        runner_up = jnp.max(jnp.exp(log) * (1 - own), axis=-1)
        divergence = jnp.sum(jnp.exp(clean) * (clean - log), axis=-1)
        doubt = 1 - jnp.sum(own * jnp.exp(clean), axis=-1)
        loss = jnp.mean(cross_entropy - jnp.log1p(-runner_up + 1e-6) + config.mart_weight * divergence * doubt)
        accuracy = jnp.mean(jnp.argmax(logits, axis=-1) == labels)
        return loss, train.Auxiliary(stats, {"cross_entropy": jnp.mean(cross_entropy), "accuracy": accuracy})

    return objective


@pytest.fixture
def mart(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = train.Objective(make_mart, MartConfig, weight="mart_weight")
    monkeypatch.setitem(train.OBJECTIVES, "mart", entry)


@pytest.mark.usefixtures("mart")
@pytest.mark.slow
def test_study_of_a_new_objective_compares_its_sep_arms_with_it(tmp_path: pathlib.Path) -> None:
    methods = ("mart", "mart_sep_pos", "mart_sep_neg")
    config = TINY.replace(methods=methods, objective_options=("mart_weight=2.5",))
    assert config.train_config("mart_sep_pos", 64).objective_settings == MartConfig(2.5)
    result = study.run(config, tmp_path / "run")
    rows = {row["method"]: row for row in result["rows"]}
    assert {method: row["baseline"] for method, row in rows.items()} == {
        "mart": None, "mart_sep_pos": "mart", "mart_sep_neg": "mart"
    }  # fmt: skip
    accuracies = {method: row["clean_accuracy"] for method, row in rows.items()}
    for method, row in rows.items():
        assert row["degraded"] == record.is_degraded(accuracies[method], accuracies["mart"])
    claims = record.claims_of(record.Result.from_dict(result))
    assert {(claim.method, claim.baseline) for claim in claims} == {("mart_sep_pos", "mart"), ("mart_sep_neg", "mart")}
    rows["mart_sep_neg"]["clean_accuracy"] = accuracies["mart"] - 0.06
    mark_degraded(result["rows"])
    assert [row["degraded"] for row in result["rows"]] == [
        False,
        accuracies["mart_sep_pos"] < accuracies["mart"] - 0.05,
        True,
    ]
    # What the run keeps can be read back, and belongs to this weight alone.
    loaded = study.load_trained(tmp_path / "run")
    assert [model.method for model in loaded.trained] == list(methods)
    assert loaded.config == config
    described = config.train_config("mart", 64).describe()
    assert (described["objective"], described["mart_weight"]) == ("mart", 2.5)
    with pytest.raises(InputError, match="begun with other settings: objective_options"):
        study.run(config.replace(objective_options=()), tmp_path / "run", resume=True)


@pytest.mark.usefixtures("mart")
def test_new_objective_has_names_a_weight_options_and_a_plan() -> None:
    known = study.training_methods()
    assert {"mart", "mart_sep_pos", "mart_sep_neg", "mart_lga", "mart_r2et"} <= set(known)
    assert known["mart_lga"].baseline == "mart"
    config = TINY.replace(methods=("mart", "mart@1"))
    assert config.train_config("mart@1", 64).objective_settings == MartConfig(1.0)
    passes = {task.what.split(",")[0]: task.flops for task in study.plan(TINY.replace(methods=("mat", "mart"))).tasks}
    assert passes["train mart"] > passes["train mat"]
    with pytest.raises(InputError, match="unknown option of mart 'mart_weights': expected one of mart_weight; did you"):
        TINY.replace(methods=("mart",), objective_options=("mart_weights=3",))
    with pytest.raises(InputError, match="unknown method 'mart_sep': expected one of .* mart_sep_pos"):
        TINY.replace(methods=("mart_sep",))


def test_new_objective_is_gone_with_its_line() -> None:
    with pytest.raises(InputError, match="unknown method 'mart'"):
        TINY.replace(methods=("mart",))


# An attack on explanations: the best of some random images of the ball, without any derivative.


@dataclasses.dataclass(frozen=True)
class GuessConfig:
    """num_guesses: random images of the ball."""

    num_guesses: int = 4


def guess(
    key: Key, problem: attack.PairProblem, config: GuessConfig, on_step: attack.OnStep | None
) -> tuple[Array, attack.AttackRecord]:
    """The image with the lowest explanation loss among the clean one and random ones that keep the class."""
    image, keys = problem.image, jax.random.split(key, config.num_guesses)
    noise = jax.vmap(lambda k: jax.random.uniform(k, image.shape, minval=-problem.radius, maxval=problem.radius))(keys)
    images = jnp.concatenate([image[None], jnp.clip(image + noise, 0, 1)])
    losses = jax.vmap(lambda z: jnp.mean((problem.map_fn(z) - problem.target_map) ** 2))(images)
    classes = jnp.argmax(jax.vmap(problem.logits_fn)(images), axis=-1)
    best = jnp.argmin(jnp.where(classes == classes[0], losses, jnp.inf))
    return images[best], attack.AttackRecord(losses)


# A data set: two classes of stripes.


def load_stripes(data_dir: str | None, split: str) -> data.Dataset:
    """Horizontal and vertical stripes under noise, 8x8 pixels."""
    place = ("train", "validation", "test").index(split)
    rng = np.random.default_rng(place)
    labels = np.arange((80, 24, 40)[place], dtype=np.int32) % 2
    rows = np.broadcast_to((np.arange(8) % 2)[:, None], (8, 8))
    images = np.where(labels[:, None, None] == 0, rows, rows.T) * 0.6 + rng.uniform(0, 0.4, (len(labels), 8, 8))
    info = data.DatasetInfo("stripes", 2, (8, 8, 1), (0.5,), (0.3,), ("horizontal", "vertical"), augment=False)
    return data.Dataset(images[..., None].astype(np.float32), labels, info, split)


# An explanation method with an option, which may be attacked by what needs no derivative alone.


def powered(logits_fn: LogitsFn, image: Array, label: Array, *, key: Key | None = None, power: float = 1.0) -> Array:
    """|gradient|^power."""
    return explain.absolute(explain.gradient(logits_fn, image, label)) ** power


@pytest.fixture
def three_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = attack.ExplanationAttack(guess, GuessConfig, lambda config: 0, differentiable=False)
    monkeypatch.setitem(attack.EXPLANATION_ATTACKS, "guess", entry)
    monkeypatch.setitem(data.DATASETS, "stripes", data.DataSource(load_stripes, is_embedded=True))
    monkeypatch.setitem(explain.METHODS, "powered", explain.Method(powered, differentiable=False))


def plugged(**changes: Any) -> study.StudyConfig:
    chosen: dict[str, Any] = {
        "dataset": "stripes", "methods": ("mat",), "explanation_method": "powered",
        "explanation_options": ("power=2",), "explanation_attack_kind": "guess", "explanation_epsilon": 0.2,
        "explanation_attack_options": ("num_guesses=6",),
    }  # fmt: skip
    return TINY.replace(**chosen | changes)


@pytest.mark.slow
@pytest.mark.usefixtures("three_plugins")
def test_study_knows_a_new_data_set_explanation_and_attack(tmp_path: pathlib.Path) -> None:
    config = plugged()
    made = config.explanation_attack()
    assert (made.settings, made.method_options) == (GuessConfig(6), (("power", 2),))
    result = study.run(config, tmp_path / "run")
    (row,) = result["rows"]
    assert result["pairs"]["dataset"] == "stripes"
    assert row["label_kept"] == 1.0
    assert 0 < row["perturbation_size"] <= 0.2 + 1e-6
    assert row["explanation_loss_end"] <= row["explanation_loss_start"]
    maps = np.load(tmp_path / "run" / "maps.npz")
    assert not any("course" in name for name in maps), "this attack has no course that could be shown"

    (trained,) = study.load_trained(tmp_path / "run").trained
    model_fn = models.model_fn(study.load_trained(tmp_path / "run").model)
    image = jnp.asarray(maps["victim_images"][0], jnp.float32)
    image = image / 255 if maps["victim_images"].dtype == np.uint8 else image
    label = jnp.argmax(model_fn(trained.variables, image))
    saliency = powered(lambda z: model_fn(trained.variables, z), image, label, power=2.0)
    expected = explain.explanation_map(saliency)
    np.testing.assert_allclose(maps["mat/victim_map"][0], expected, rtol=1e-3, atol=1e-6)

    ablation = study.ExplanationAttacksConfig.of(
        experiment="x", models_dir=str(tmp_path / "run"), attacks=("guess", "black_box"), num_near_boundary=2
    )
    compared = study.run(ablation, tmp_path / "ablation")
    assert [row["attack"] for row in compared["rows"]] == ["guess", "black_box"]
    assert compared["members"] == []


@pytest.mark.usefixtures("three_plugins")
def test_options_and_facts_of_plug_ins_are_checked_with_one_line() -> None:
    cases: Sequence[tuple[dict[str, Any], str]] = [
        ({"explanation_options": ("powers=2",)}, "unknown option of explanation method 'powered' 'powers'.*'power'"),
        ({"explanation_attack_options": ("num_guess=2",)}, "unknown option of explanation attack 'guess' 'num_guess'"),
        ({"dataset": "stripe"}, "unknown data set 'stripe'.*did you mean 'stripes'"),
        (
            {"explanation_attack_kind": "targeted", "explanation_attack_options": ()},
            "'powered' has no derivative: attack another one",
        ),
        ({"explanation_attack_kind": "gues"}, "unknown explanation attack 'gues'.*did you mean 'guess'"),
    ]
    for changes, message in cases:
        with pytest.raises(InputError, match=message):
            plugged(**changes)
    with pytest.raises(InputError, match="takes a GuessConfig, got TargetedConfig"):
        evaluate.ExplanationAttackConfig(attack="guess", settings=attack.TargetedConfig())


@pytest.mark.usefixtures("three_plugins")
def test_loader_of_the_documented_signature_is_all_that_a_data_set_needs() -> None:
    train_split = data.load("stripes", data_dir="anywhere", split="train", stream=True)
    assert (len(train_split), train_split.info.name) == (80, "stripes")
    assert len(data.load("stripes", split="test", max_images=5)) == 5
    tasks = study.plan(plugged(train_images=0, explanation_method="gradient", explanation_options=())).tasks
    assert any("2 steps each of 32 images" in task.what for task in tasks)


@pytest.mark.parametrize("name", data.DATASETS)
def test_every_data_set_says_what_a_plan_needs(name: str) -> None:
    source = data.DATASETS[name]
    assert source.info is not None
    assert source.info.name == name
    assert source.is_embedded or source.num_images is not None


# A kind of study: how bright the images of a data set are.


@dataclasses.dataclass(frozen=True)
class BrightnessConfig(study.Configuration):
    """Which images."""

    images: groups.DataConfig = study.group(groups.DataConfig)
    splits: tuple[str, ...] = study.setting(("train", "test"), "splits", choices=("train", "validation", "test"))


def load_splits(config: BrightnessConfig) -> dict[str, data.Dataset]:
    """The images of every split."""
    return {split: data.load(config.images.dataset, split=split) for split in config.splits}


def measure_brightness(config: BrightnessConfig, splits: dict[str, data.Dataset], run: study.Run) -> None:
    """A row a split."""
    for split in run.missing(config.splits, "split", "measuring {}".format):
        run.rows.append({"method": split, "brightness": float(splits[split].as_float().mean())})
        run.save()


def draw_brightness(run_dir: pathlib.Path) -> None:
    """The table alone."""
    result = json.loads((run_dir / "result.json").read_text())
    (run_dir / "brightness.txt").write_text(brightness_table(result))


def brightness_table(result: dict[str, Any]) -> str:
    """A line a split."""
    return "\n".join(f"{row['method']}: {row['brightness']:.3f}" for row in result["rows"])


BRIGHTNESS = study.StudyKind(
    "brightness", BrightnessConfig, load_splits, measure_brightness, brightness_table, draw_brightness,
    shown="brightness.txt",
)  # fmt: skip


def test_new_kind_of_study_has_a_run_directory_resumes_and_says_where_it_comes_from(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BrightnessConfig.of(experiment="bright", dataset="digits")
    with pytest.raises(InputError, match="no study has configurations of the class BrightnessConfig"):
        study.run(config, tmp_path / "run")
    monkeypatch.setitem(study.STUDIES, "brightness", BRIGHTNESS)
    whole = study.run(config, tmp_path / "whole")
    assert [row["method"] for row in whole["rows"]] == ["train", "test"]
    assert (whole["kind"], whole["experiment"], whole["complete"]) == ("brightness", "bright", True)
    assert BrightnessConfig.from_dict(whole["config"]) == config
    assert whole["environment"].keys() >= {"jax", "commit", "command", "seconds"}
    assert "devices_used" not in whole["environment"]

    def stop(what: str, record: dict[str, Any]) -> None:
        if what == "measuring test":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run(config, tmp_path / "run", on_progress=stop)
    assert study.state_of(tmp_path / "run", config) == "begun"
    seen: list[str] = []
    resumed = study.run(config, tmp_path / "run", resume=True, on_progress=lambda what, record: seen.append(what))
    assert resumed["rows"] == whole["rows"]
    assert "measuring train" not in seen
    assert study.state_of(tmp_path / "run", config) == "finished"
    text = study.describe(config, resumed, tmp_path / "run")
    assert text.splitlines()[-1] == f"result: {tmp_path / 'run' / 'brightness.txt'}"
    assert (tmp_path / "run" / "brightness.txt").read_text() in text
    with pytest.raises(InputError, match="no such file"):
        study.run(config.replace(dataset="missing.npz"), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(InputError, match="runs on one device"):
        study.run(config, tmp_path / "mesh", mesh=devices.make_mesh(2))
    assert study.plan(config).seconds is None


SCRIPT = """
import sys

from jsep.cli import command_line
import test_plugins
from jsep import data, study

data.DATASETS["stripes"] = data.DataSource(test_plugins.load_stripes, is_embedded=True)
study.STUDIES["brightness"] = test_plugins.BRIGHTNESS
kind = test_plugins.BrightnessConfig if "--splits=test" in sys.argv else study.StudyConfig
command_line.run_study(kind.of(experiment="stripes", dataset="stripes"))
"""


@pytest.mark.slow
def test_script_of_ones_own_registers_a_data_set_and_a_kind_of_study(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "stripes.py"
    script.write_text(SCRIPT)
    places = [script_runs.ROOT / part for part in ("experiments", "tests", ".")]
    environment = script_runs.ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(map(str, places))}
    for arguments, said in (
        (["--dry_run", "--methods=mat", "--batch_size=32"], "train mat"),
        (["--splits=test"], f"result: {tmp_path}/run/brightness.txt"),
        (["--splits=test", "--resume"], f"result: {tmp_path}/run/brightness.txt"),
    ):
        done = subprocess.run(
            [sys.executable, str(script), *arguments, f"--run_dir={tmp_path}/run"], cwd=script_runs.ROOT,
            env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert said in done.stdout

"""The command line: help by groups, what a mistyped flag may have meant, progress with the time left, the plan."""

import functools
import importlib
import pathlib
import subprocess
import sys

import command_line
import help_text
import jax
import jax.numpy as jnp
import oracles
import plan_text
import pytest
from absl import flags

from jsep import models, study
from jsep.models import convolution
from jsep.study import costs

# `study.plan` is the function.
plan_module = importlib.import_module("jsep.study.plan")
ROOT = pathlib.Path(__file__).parent.parent
SMALL = study.StudyConfig.of(
    dataset="digits", train_images=64, validation_images=16, test_images=32, methods=("standard", "mat", "sep_pos"),
    num_seeds=2, epochs=3, batch_size=16, num_steps=4, test_num_steps=5, num_pairs=4, explanation_num_steps=7,
    feature_epochs=2,
)  # fmt: skip


@pytest.fixture
def own_flags(monkeypatch: pytest.MonkeyPatch) -> flags.FlagValues:
    """The flags of a study, in a registry of their own."""
    values = flags.FlagValues()
    for name, default in {"epochs": 25, "num_seeds": 3, "sep_weight_pos": 5.0, "zzz": "a"}.items():
        flags.DEFINE_string(name, str(default), f"help of {name}", flag_values=values)
    flags.DEFINE_bool("resume", False, "continue", flag_values=values)
    monkeypatch.setattr(help_text.flags, "FLAGS", values)
    return values


def test_help_groups_the_flags_and_says_their_defaults(own_flags: flags.FlagValues) -> None:
    text = help_text.help_text("What it does.")
    blocks = dict(block.split(":\n", 1) for block in text.split("\n\n")[1:])
    assert text.startswith("What it does.\n\n")
    assert "--[no]resume" in blocks["The run"]
    assert blocks["Training"].split() == ["--epochs", "help", "of", "epochs", "(default:", "25)"]
    assert "--sep_weight_pos" in blocks["SEP, the regulariser under test"]
    assert "--zzz" in blocks["This script"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("epoch", "; did you mean --epochs?"),
        ("num-seeds", "; did you mean --num_seeds?"),
        ("rival_weight", ", now called --regulariser_weight"),
        ("lambda", "; did you mean --sep_weight_pos and --sep_weight_neg?"),
        ("lr", "; --help lists the flags"),  # --learning_rate is no flag here
        ("qqqq", "; --help lists the flags"),
    ],
)
def test_a_mistyped_flag_suggests_what_was_meant(own_flags: flags.FlagValues, typed: str, said: str) -> None:
    assert help_text.suggestion(typed) == said


def test_arguments_in_errors_of_the_library_are_shown_as_the_flags_of_the_script(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = flags.FlagValues()
    flags.DEFINE_bool("resume", False, "", flag_values=values)
    flags.DEFINE_string("engine", None, "", flag_values=values)
    monkeypatch.setattr(flags, "FLAGS", values)
    shown = command_line.in_flags("continue it with resume=True, or engine=processes; pass chunk_size=4 (--engine=ray)")
    assert shown == "continue it with --resume, or --engine=processes; pass chunk_size=4 (--engine=ray)"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--epochs=three", "flag --epochs=three: expected a whole number such as 25, got 'three'"),
        ("--epochs=3.5", "flag --epochs=3.5: expected a whole number such as 25, got '3.5'"),
        ("--epochs", "flag --epochs: expected a value, got none; write --epochs=VALUE"),
        ("--resume=maybe", "flag --resume=maybe: expected true or false, got 'maybe'; write --resume or --noresume"),
        ("--rate=a/b", "flag --rate=a/b: expected a number or a fraction such as 8/255, got 'a/b'"),
        ("--flagfile", "flag --flagfile: expected a file, got none; write --flagfile=FILE"),
        (
            "--flagfile=none.flags",
            "flag --flagfile=none.flags: No such file or directory; the recipes are in experiments/flags",
        ),
    ],
)
def test_a_bad_value_says_what_was_expected(given: str, said: str) -> None:
    values = flags.FlagValues()
    flags.DEFINE_integer("epochs", 1, "", flag_values=values)
    flags.DEFINE_bool("resume", False, "", flag_values=values)
    flags.DEFINE(command_line.FractionParser(), "rate", 1.0, "", flag_values=values)
    with pytest.raises(flags.Error) as caught:
        values(["script", given])
    assert help_text.bad_value(str(caught.value)) == said


def test_every_meant_flag_is_a_flag_of_a_study_or_its_run() -> None:
    known = {*study.settings_of(study.StudyConfig), "run_dir", "resume", "overwrite"}
    for meant in help_text.MEANT.values():
        names = meant.replace("--", "").replace(" or ", " ").replace(" and ", " ").split()
        assert set(names) <= known, meant


def test_parts_of_a_run_are_counted_with_the_time_left(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    clock = iter([100.0, 110.0, 130.0])
    monkeypatch.setattr(command_line.time, "monotonic", lambda: next(clock))
    progress = command_line.TerminalProgress()
    for unit in range(3):
        progress(f"mat, seed {unit}", {"unit": unit, "num_units": 5, "of": "model"})
    lines = [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()]
    # 10 s a part, four are left; then 15 s a part, three are left.
    assert lines == [
        "model 1 of 5: mat, seed 0",
        "model 2 of 5, 00:40 left: mat, seed 1",
        "model 3 of 5, 00:45 left: mat, seed 2",
    ]


def test_a_bar_of_steps_shows_the_time_left(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(command_line.time, "monotonic", iter([0.0, 10.0]).__next__)
    progress = command_line.TerminalProgress()
    progress("attacking", {"step": 10, "num_steps": 100})
    progress("attacking", {"step": 20, "num_steps": 100})
    progress.close()
    assert "01:20 left" in capsys.readouterr().err


def test_operations_of_a_matrix_product_are_counted() -> None:
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((8, 16), (16, 32))]
    assert costs.count_flops(jnp.matmul, *shapes) == 2 * 8 * 16 * 32


def test_operations_of_a_convolution_are_those_of_its_definition_whatever_its_form() -> None:
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((64, 8, 8, 64), (3, 3, 64, 64))]
    conv = functools.partial(convolution.conv2d, strides=1, padding=1)
    jax.jit(conv).lower(*shapes)  # what was lowered before is counted as well
    inside = 2 * 64 * (3 * 8 - 2) ** 2 * 64 * 64  # without the products with the zeros around an image
    assert costs.count_flops(conv, *shapes) == inside
    # Of more than 32 images it is a loop over groups, which would count once.
    weight_gradient = jax.grad(lambda w, x: jnp.sum(conv(x, w)))
    assert costs.count_flops(weight_gradient, *reversed(shapes)) == pytest.approx(inside, rel=0.1)


def test_operations_of_a_loop_count_as_often_as_it_runs() -> None:
    def turns(count: int, x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda z, _: (z @ z, None), x, length=count)[0]

    def nested(x: jax.Array) -> jax.Array:
        # A jitted function in between hides nothing.
        return jax.lax.scan(lambda z, _: (jax.jit(lambda y: turns(3, y))(z), None), x, length=5)[0]

    shape = jax.ShapeDtypeStruct((16, 16), jnp.float32)
    once = costs.count_flops(jnp.matmul, shape, shape)
    assert costs.count_flops(lambda x: turns(1, x), shape) == pytest.approx(once, rel=0.01)
    assert costs.count_flops(lambda x: turns(7, x), shape) == pytest.approx(7 * once, rel=0.01)
    assert costs.count_flops(nested, shape) == pytest.approx(15 * once, rel=0.01)


def test_operations_of_a_method_that_samples_grow_with_its_samples() -> None:
    model = models.create("convnet", num_classes=10, input_shape=(8, 8, 1))
    plain, sampled = (costs.count(model, (8, 8, 1), method=method) for method in ("gradient", "smooth_grad"))
    # Its default is 32 samples.
    assert sampled.map_gradient > 16 * plain.map_gradient


def test_plan_counts_steps_models_and_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed = costs.Costs(1.0, 10.0, 100.0, 1000.0, 0.0, 4)
    with_term = costs.Costs(1.0, 10.0, 100.0, 1000.0, 10_000.0, 4)
    monkeypatch.setattr(plan_module, "_costs", lambda m, s, x, c: with_term if c.weights() else fixed)
    monkeypatch.setattr(plan_module, "probe", lambda *a: costs.Probe(0.5, 16, 1e6, 10.0))
    plan = study.plan(SMALL)
    flops = {task.what.partition(":")[0]: task.flops for task in plan.tasks}
    steps = 3 * (64 // 16)
    validation = 3 * 16 * (4 * 10 + 2)
    assert flops["train the feature network convnet"] == 2 * 4 * 16 * 100
    assert flops["train standard, 2 seed(s)"] == 2 * (steps * 16 * 100 + validation)
    assert flops["train mat, 2 seed(s)"] == 2 * (steps * 16 * (4 * 10 + 100) + validation)
    assert flops["train sep_pos, 2 seed(s)"] == 2 * (steps * 16 * (4 * 10 + 100 + 10_000) + validation)
    assert flops["evaluate mat, 2 seed(s)"] == 2 * (32 * (5 * 10 + 2) + 4 * 7 * 1000)
    assert plan.seconds == pytest.approx(sum(task.flops for task in plan.tasks) / 1e6)
    assert plan.memory_bytes == pytest.approx((64 + 16 + 32) * 64 * 4 + 3 * 4 + 10.0 * 32)
    done = {("mat", 0), ("mat", 1), ("standard", 1)}
    whats = [task.what.partition(":")[0] for task in study.plan(SMALL, done=done).tasks]
    assert whats == [
        "train standard, 1 seed(s)", "evaluate standard, 1 seed(s)", "train sep_pos, 2 seed(s)",
        "evaluate sep_pos, 2 seed(s)",
    ]  # fmt: skip
    assert plan_text.plan_text(SMALL, "runs/x").splitlines()[-1].endswith("the results go to runs/x")


def test_plan_of_an_analysis_needs_its_models(tmp_path: pathlib.Path) -> None:
    config = study.LandscapeConfig.of(models=(str(tmp_path),))
    with pytest.raises(ValueError, match="holds no study that can be read"):
        study.plan(config)


def test_durations_in_words() -> None:
    said = [plan_text.duration(seconds) for seconds in (0.2, 40, 700, 12_600)]
    assert said == ["about 1 s", "about 40 s", "about 12 min", "about 3.5 h"]


@pytest.mark.slow
def test_dry_run_prints_a_plan_of_the_right_size_and_writes_nothing(tmp_path: pathlib.Path) -> None:
    arguments = ["--flagfile=experiments/flags/digits_sep_smoke.flags", f"--run_dir={tmp_path / 'run'}"]
    command = [sys.executable, "experiments/digits_sep.py", *arguments]
    done = subprocess.run([*command, "--dry_run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Plan of digits_sep")
    for word in ("train mat", "evaluate sep_neg", "Time: about", "Memory: about", "was compiled and timed"):
        assert word in done.stdout
    assert done.stdout.strip().splitlines()[-1].endswith(f"the results go to {tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_estimated_speed_is_that_of_the_gradient() -> None:
    model = models.create("convnet", num_classes=10, input_shape=(8, 8, 1))
    counted = costs.count(model, (8, 8, 1))
    found = costs.probe(jax.random.key(0), model, (8, 8, 1), counted, 32)
    assert found.flops_per_second == pytest.approx(32 * counted.train_gradient / found.seconds)
    assert counted.forward < counted.input_gradient < counted.map_gradient
    assert found.bytes_per_image > 4 * 64
    num_parameters = oracles.num_parameters(models.init(jax.random.key(0), model, (8, 8, 1)))
    assert counted.parameter_bytes == 4 * num_parameters

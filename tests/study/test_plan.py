"""The plan of a run: operations, memory and time before anything is done."""

import dataclasses
import functools
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import attack, data, evaluate, models, study, train
from jsep.cli import plan_text
from jsep.models import convolution
from jsep.study import costs, work

SMALL = study.StudyConfig.of(
    dataset="digits", train_images=64, validation_images=16, test_images=32, methods=("standard", "mat", "sep_pos"),
    num_seeds=2, epochs=3, batch_size=16, num_steps=4, test_num_steps=5, num_pairs=4, explanation_num_steps=7,
    feature_epochs=2,
)  # fmt: skip
CONVNET = costs.ModelCosts(models.create("convnet", num_classes=10, input_shape=(8, 8, 1)), (8, 8, 1))


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
    plain, sampled = (
        CONVNET.map_gradient(evaluate.ExplanationAttackConfig(method=method)) for method in ("gradient", "smooth_grad")
    )
    # Its default is 32 samples.
    assert sampled > 16 * plain


def test_operations_of_a_training_step_grow_with_its_attack_and_its_term() -> None:
    config = train.TrainConfig(objective="mat", epochs=1, batch_size=32)
    few, many = (
        CONVNET.training_step(dataclasses.replace(config, attack=train.PgdConfig(num_steps=n))) for n in (2, 6)
    )
    assert many - few == pytest.approx(4 * 32 * CONVNET.input_gradient, rel=0.1)
    with_term = CONVNET.training_step(dataclasses.replace(config, attack=train.PgdConfig(num_steps=2), sep_weight=1.0))
    assert with_term - few > 32 * 2 * CONVNET.input_gradient, "two maps and their gradient"
    assert CONVNET.pgd(6) - CONVNET.pgd(2) == pytest.approx(4 * CONVNET.input_gradient, rel=0.1)


def test_operations_of_an_explanation_attack_grow_with_its_steps() -> None:
    def counted(num_steps: int) -> float:
        settings = attack.TargetedConfig(num_steps=num_steps)
        return CONVNET.explanation_attack(evaluate.ExplanationAttackConfig(settings=settings))

    # A step follows the map's loss and that of the output.
    a_step = CONVNET.map_gradient(evaluate.ExplanationAttackConfig()) + CONVNET.input_gradient
    assert counted(12) - counted(4) == pytest.approx(8 * a_step, rel=0.1)


class _Fixed:
    """Costs of round numbers."""

    forward, input_gradient = 2.0, 10.0

    def training_step(self, config: train.TrainConfig) -> float:
        return 100.0 + 10_000.0 * len(config.weights())

    def map_gradient(self, config: Any) -> float:
        return 1000.0

    def pgd(self, num_steps: int) -> float:
        return 10.0 * num_steps + 2

    def explanation_attack(self, config: Any) -> float:
        return 1000.0 * config.total_steps

    def flops_per_second(self, key: jax.Array) -> float:
        return 1e6

    def step_memory(self, config: train.TrainConfig, num_images: int, dtype: Any) -> train.StepMemory:
        assert config.weights() or config.objective == "trades", "of the method with most terms"
        return train.StepMemory(num_images, 5)


def test_plan_counts_steps_models_and_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "ModelCosts", lambda *_: _Fixed())
    plan = study.plan(SMALL)
    flops = {task.what.partition(":")[0]: task.flops for task in plan.tasks}
    steps = 3 * (64 // 16)
    validation = 3 * 16 * (4 * 10 + 2)
    assert flops["train the feature network convnet"] == 2 * 4 * 100
    assert flops["train mat, 2 seed(s)"] == 2 * (steps * 100 + validation)
    assert flops["train sep_pos, 2 seed(s)"] == 2 * (steps * 10_100 + validation)
    assert flops["evaluate mat, 2 seed(s)"] == 2 * (32 * (5 * 10 + 2) + 4 * 7 * 1000)
    assert plan.seconds == pytest.approx(sum(task.flops for task in plan.tasks) / 1e6)
    assert plan.memory_bytes == 64 + 5 + (16 + 32) * 64 * 4
    done = {("mat", 0), ("mat", 1), ("standard", 1)}
    whats = [task.what.partition(":")[0] for task in study.plan(SMALL, done=done).tasks]
    assert whats == [
        "train standard, 1 seed(s)", "evaluate standard, 1 seed(s)", "train sep_pos, 2 seed(s)",
        "evaluate sep_pos, 2 seed(s)",
    ]  # fmt: skip
    assert plan_text.plan_text(SMALL, "runs/x").splitlines()[-1].endswith("the results go to runs/x")


@pytest.mark.parametrize("name", study.STUDIES)
def test_every_kind_of_study_has_a_plan(name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "ModelCosts", lambda *_: _Fixed())
    (tmp_path / "config.json").write_text(json.dumps(SMALL.as_dict()))
    kind, finished = study.STUDIES[name].config, str(tmp_path)
    given: dict[str, Any] = {"models": (finished,), "models_dir": finished, "study_dir": finished}
    given |= {"study_dirs": (finished,), "methods": ("mat", "sep_pos")}
    given["models"] = finished if name == "attack_strength" else given["models"]
    names = set(study.settings_of(kind)) - (set() if name == "study" else {"methods"})
    plan = study.plan(kind.of(**{key: value for key, value in given.items() if key in names}))
    assert plan.tasks
    trains_or_attacks = name not in ("correlation", "sep_weight_sweep", "explanation_methods")
    assert (plan.seconds is not None) == trains_or_attacks
    if name == "evaluation":
        assert plan.tasks[0].flops == 2 * 3 * (32 * (20 * 10 + 2) + 4 * 1000 * 1000)
        assert plan.tasks[0].what.startswith(f"evaluate 6 models of {finished}")


def test_plan_of_an_analysis_needs_its_models(tmp_path: pathlib.Path) -> None:
    config = study.LandscapeConfig.of(models=(str(tmp_path),))
    with pytest.raises(ValueError, match="holds no study that can be read"):
        study.plan(config)


@pytest.mark.slow
def test_memory_of_a_step_holds_its_images_state_and_activations_and_the_run_finds_the_program(
    digits: data.Dataset, tmp_path: pathlib.Path
) -> None:
    config = train.TrainConfig(objective="mat", epochs=1, batch_size=32, attack=train.PgdConfig(num_steps=2))
    few = digits.take(np.arange(64))
    events: list[str] = []
    jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    try:
        found = CONVNET.step_memory(config, len(few), few.images.dtype)
        assert found is not None
        state = jax.eval_shape(lambda: train.init_state(jax.random.key(0), CONVNET.model, (8, 8, 1), config, 64))
        held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
        assert found.kept == pytest.approx(held + few.images.nbytes + 64 * 4, rel=0.01)
        assert found.working > 32 * 64 * 32 * 4, "the activations of the first layer"
        assert found.total == found.kept + found.working
        jax.clear_caches()
        train.step._compiled_steps.cache_clear()
        events.clear()
        train.fit(jax.random.key(0), CONVNET.model, few, config)
        assert "/jax/compilation_cache/cache_hits" in events
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_speed_is_positive() -> None:
    assert CONVNET.flops_per_second(jax.random.key(0)) > 1e6

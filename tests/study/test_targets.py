"""Programs compiled for devices that are not at hand.

The tests of a GPU or a TPU run where its compiler is installed, in an environment of its own with "jsep[aot-cuda,test]"
or "jsep[aot-tpu,test]": JAX_PLATFORMS=cpu python -m pytest -m slow tests/study/test_targets.py
"""

import dataclasses
import json
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import devices, models, study, train
from jsep.checks import InputError
from jsep.cli import plan_text
from jsep.study import targets

SMALL = study.StudyConfig.of(
    dataset="digits", train_images=64, validation_images=16, test_images=32, methods=("mat", "sep_pos"), num_seeds=1,
    epochs=3, batch_size=16, num_steps=2, test_num_steps=3, num_pairs=4, explanation_num_steps=4, chunk_size=8,
    explanation_epsilon=0.1, attack_strengths=("study",),
)  # fmt: skip


def test_unknown_target_lists_those_that_are_known() -> None:
    with pytest.raises(InputError, match="expected one of cpu, t4, a100, h100, h200, tpu-v5e, tpu-v6e"):
        targets.target_named("h20")


@pytest.mark.parametrize(("name", "extra"), [("tpu-v5e", "aot-tpu"), ("t4", "aot-cuda")])
def test_missing_compiler_names_its_extra(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: Any, **__: Any) -> None:
        raise NotImplementedError("topology not implemented")

    monkeypatch.setattr(targets.topologies, "get_topology_desc", absent)
    with pytest.raises(InputError, match=rf'pip install "jsep\[{extra}\]"') as caught:
        targets.devices_of(targets.target_named(name))
    assert "\n" not in str(caught.value)


def test_memory_is_that_of_the_arrays() -> None:
    target = targets.target_named("cpu")
    shapes = (jax.ShapeDtypeStruct((256, 1024), jnp.float32), jax.ShapeDtypeStruct((1024, 512), jnp.float32))
    program = jax.jit(lambda x, w: jnp.sin(x @ w).sum())
    found = targets.memory_on(target, targets.devices_of(target)[0], program, shapes)
    assert found.kept == 4 * (256 * 1024 + 1024 * 512)
    assert found.working >= 4 * 256 * 512


def test_answers_are_kept_by_program_and_target(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = targets.target_named("cpu")
    device, shapes = targets.devices_of(target)[0], (jax.ShapeDtypeStruct((8, 8), jnp.float32),)
    found = targets.memory_on(target, device, jax.jit(jnp.sin), shapes, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(json.dumps({"kept": 1, "working": 2}))
    assert targets.memory_on(target, device, jax.jit(jnp.sin), shapes, cache=tmp_path) == train.StepMemory(1, 2)
    file.write_text("{")
    assert targets.memory_on(target, device, jax.jit(jnp.sin), shapes, cache=tmp_path) == found
    targets.memory_on(target, device, jax.jit(jnp.cos), shapes, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_how_many_fit_follows_from_what_one_needs() -> None:
    target = dataclasses.replace(targets.target_named("t4"), memory=1000 / targets.USABLE)
    assert targets.largest_count(target, train.StepMemory(kept=200, working=400), 16) == 32
    assert targets.largest_count(target, train.StepMemory(kept=200, working=3200), 16) == 4
    assert targets.largest_count(target, train.StepMemory(kept=2000, working=1), 16) == 0


def test_descriptions_of_gpus_differ_where_the_devices_do() -> None:
    found = [target.topology for target in targets.TARGETS.values() if target.platform == "cuda"]
    assert len(set(found)) == len(found) == 4
    assert all(text.count("{") == text.count("}") == 3 for text in found)


@pytest.mark.slow
def test_plan_on_a_target_names_what_does_not_fit() -> None:
    plan = study.plan_on(SMALL, "cpu")
    training, accuracies, explanations = plan.parts
    assert (training.count, accuracies.count, explanations.count) == (16, 8, 8)
    assert all(part.memory.working > 0 for part in plan.parts)
    # With ten times the attack's steps a step of training has some ten times the operations: loops count by turns.
    longer = study.plan_on(SMALL.replace(num_steps=20, methods=("mat",)), "cpu").parts[0].flops
    shorter = study.plan_on(SMALL.replace(num_steps=2, methods=("mat",)), "cpu").parts[0].flops
    assert 4 < longer / shorter < 10
    tight = dataclasses.replace(targets.target_named("t4"), memory=training.memory.total)
    parts = [dataclasses.replace(p, fits=targets.largest_count(tight, p.memory, p.count)) for p in plan.parts]
    text = plan_text.target_text(dataclasses.replace(plan, target=tight, parts=tuple(parts)))
    assert "It does not fit: use --batch_size=" in text
    assert plan_text.target_text(plan).startswith("Target cpu")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tpu-v5e", "t4"])
def test_plan_on_a_device_that_is_absent(name: str) -> None:
    try:
        targets.devices_of(targets.target_named(name))
    except InputError as error:
        pytest.skip(str(error))
    plan = study.plan_on(SMALL, name)
    assert all(0 < part.memory.total < 2**30 for part in plan.parts)
    assert "It fits." in plan_text.target_text(plan)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cpu", "h200", "t4", "tpu-v5e"])
def test_compiled_step_stays_on_the_device_in_float32_and_reuses_the_state(name: str) -> None:
    target = targets.target_named(name)
    try:
        device = targets.devices_of(target)[0]
    except InputError as error:
        pytest.skip(str(error))
    config = train.TrainConfig(epochs=1, batch_size=16, sep_weight=1e3, attack=train.PgdConfig("linf", 0.1, 0.05, 2))
    network = models.ConvNet(num_classes=10)
    program, shapes = train.step_program(network, config, (8, 8, 1), 64, platform=target.platform)
    compiled = targets.compile_for(target, device, program, shapes)
    text = compiled.as_text()
    assert "f64[" not in text
    assert not re.search(r"\b(infeed|outfeed|send|recv)\(", text)
    called = set(re.findall(r'custom_call_target="([^"]+)"', text))
    assert not [each for each in called if "callback" in each]
    if target.platform == "cuda":  # every convolution is cuDNN's, forward and both gradients
        assert {"__cudnn$convBackwardFilter", "__cudnn$convBackwardInput"} <= called
    # The state is donated: its new value takes the memory of the old one.
    memory = compiled.memory_analysis()
    state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes[0]) if leaf.dtype != shapes[3].dtype)
    assert memory.alias_size_in_bytes >= 0.9 * state


CROSSING = re.compile(r" (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cpu", "tpu-v5e"])
def test_on_a_mesh_sums_alone_cross_devices(name: str) -> None:
    target = targets.target_named(name)
    try:
        found = targets.devices_of(target)[:4]
    except InputError as error:
        pytest.skip(str(error))
    mesh = jax.sharding.Mesh(np.array(found), (devices.AXIS,))
    config = train.TrainConfig(epochs=1, batch_size=16, sep_weight=1e3, attack=train.PgdConfig("linf", 0.1, 0.05, 2))
    network = models.ConvNet(num_classes=10)
    program, shapes = train.step_program(network, config, (8, 8, 1), 64, mesh=mesh, platform=target.platform)
    text = targets.compile_for(target, mesh, program, shapes).as_text()
    assert set(CROSSING.findall(text)) == {"all-reduce"}
    assert not re.search(r"\[16,8,8,\d+\]", text)  # every device works on its four images


@pytest.mark.slow
@pytest.mark.parametrize(("name", "computed_in"), [("t4", "f32"), ("h200", "bf16"), ("tpu-v5e", "bf16")])
def test_bfloat16_where_asked_is_bfloat16_where_the_device_has_it(name: str, computed_in: str) -> None:
    target = targets.target_named(name)
    try:
        device = targets.devices_of(target)[0]
    except InputError as error:
        pytest.skip(str(error))
    attack = train.PgdConfig("linf", 0.1, 0.05, 2)
    config = train.TrainConfig(epochs=1, batch_size=16, precision="bfloat16", attack=attack)
    network = models.ConvNet(num_classes=10)
    program, shapes = train.step_program(network, config, (8, 8, 1), 64, platform=target.platform)
    text = targets.compile_for(target, device, program, shapes).as_text()
    if target.platform == "cuda":
        formats = re.findall(r"%cudnn-conv\S* = \((\w+)\[", text)
        assert formats
        assert set(formats) == {computed_in}
    else:
        assert re.search(rf"{computed_in}\[16,8,8,\d+\]", text)  # activations


@pytest.mark.slow
def test_landscape_of_a_finished_study_is_planned_on_a_target(tmp_path: pathlib.Path) -> None:
    study.run(SMALL.replace(methods=("mat",), epochs=1), tmp_path / "run")
    analysis = {"landscape_images": 2, "num_matvecs": 2, "num_eigenvalues": 1, "num_probes": 2, "sharpness_steps": 1}
    config = study.LandscapeConfig.of(models=(str(tmp_path / "run"),), scalars=("cross_entropy",), **analysis)
    plan = study.plan_on(config, "cpu")
    words = [part.what for part in plan.parts]
    assert words[2:] == ["landscape of cross_entropy, 2 images", "landscape of the map, 2 images", "planes, 2 images"]
    assert all(part.flops > 0 and part.memory.working > 0 for part in plan.parts)
    assert plan.parts[-1].setting == "landscape_chunk_size"


def test_a_kind_without_programs_has_no_target() -> None:
    with pytest.raises(InputError, match="a target can be given for studies that train, evaluations and landscapes"):
        study.plan_on(study.SelectionConfig.of(), "cpu")

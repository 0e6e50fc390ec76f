"""The compiled steps: stretches, the SEP term, what is drawn, compilations, transfers."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from digit_runs import KEY, MODEL, PLAIN, SEP, assert_equal, run, state_of

from jsep import data, train
from jsep.checks import InputError
from jsep.train import loop
from jsep.train.objectives import Auxiliary
from jsep.types import Array


def test_several_stretches_equal_one_stretch(digits: data.Dataset) -> None:
    whole, sums, fault = run(PLAIN, digits, [4])
    parts, part_sums, _ = run(PLAIN, digits, [1, 3, 4])
    assert_equal(whole, parts)
    assert sums == pytest.approx(part_sums, rel=1e-5)
    assert int(whole.step) == 4
    assert int(fault.step) == -1
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), whole.params, state_of(PLAIN).params)
    assert all(size > 0 for size in jax.tree.leaves(moved)), "some parameters were not trained"


def test_uint8_images_train_as_their_float_values(digits: data.Dataset) -> None:
    images = np.round(digits.images * 255).astype(np.uint8)
    counted = dataclasses.replace(digits, images=images)
    scaled = dataclasses.replace(digits, images=images.astype(np.float32) / np.float32(255))
    first, second = run(PLAIN, counted, [4])[0], run(PLAIN, scaled, [4])[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), first.params, second.params)


def test_one_compilation_serves_both_signs_and_every_weight(digits: data.Dataset) -> None:
    config = dataclasses.replace(SEP, batch_size=8)  # of no other test: what it compiles is counted
    negative = dataclasses.replace(config, sep_weight=-7.0)
    run_steps = train.make_run_steps(MODEL, config, 64)
    assert train.make_run_steps(MODEL, negative, 64) is run_steps
    for weight in (3.0, -7.0, 0.0):
        run(config, digits, [2, 4], weight)
    assert run_steps._cache_size() == 1
    assert train.make_run_steps(MODEL, dataclasses.replace(config, sep_weight=0.0), 64) is not run_steps


def test_sep_gradient_enters_linearly_with_its_sign(digits: data.Dataset) -> None:
    # Plain SGD, one step: the parameters are a straight line in the weight, and weight 0 is training without SEP.
    scale = 50.0
    none, plus, minus = (run(SEP, digits, [1], weight)[0].params for weight in (0.0, scale, -scale))
    without = run(dataclasses.replace(SEP, sep_weight=0.0), digits, [1])[0].params
    kernel = ("Conv_0", "kernel")
    none, plus, minus, without = (np.asarray(p[kernel[0]][kernel[1]], np.float64) for p in (none, plus, minus, without))
    np.testing.assert_allclose(none, without, rtol=1e-5, atol=1e-7)
    assert np.abs(plus - none).max() > 1e-5, "the SEP term did not move the kernel"
    np.testing.assert_allclose(plus - none, none - minus, rtol=1e-2, atol=2e-7)


def test_sep_metrics_add_up(digits: data.Dataset) -> None:
    _, sums, _ = run(SEP, digits, [1], 50.0)
    assert sums["loss"] == pytest.approx(sums["cross_entropy"] + 50 * sums["sep_penalty"], rel=1e-5)
    assert 0 < sums["sep_penalty"] <= 2 / 64
    twice = run(SEP, digits, [1], -100.0)[1]
    assert twice["sep_gradient_ratio"] == pytest.approx(2 * sums["sep_gradient_ratio"], rel=1e-4)
    assert sums["sep_gradient_ratio"] > 0


def test_warm_up_scales_the_weight_by_the_step(digits: data.Dataset) -> None:
    # 4 steps an epoch, 2 epochs of warm-up: the first step has an eighth of the weight, from the eighth on all of it.
    warm = dataclasses.replace(SEP, sep_warmup_epochs=2)
    first = run(warm, digits, [1], 40.0)
    at_once = run(SEP, digits, [1], 5.0)
    assert first[1] == pytest.approx(at_once[1], rel=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), first[0].params, at_once[0].params
    )
    _, until_eighth, _ = run(warm, digits, [4, 8], 40.0)
    _, until_seventh, _ = run(warm, digits, [4, 7], 40.0)
    eighth = {name: until_eighth[name] - until_seventh[name] for name in until_eighth}
    added = (eighth["loss"] - eighth["cross_entropy"]) / eighth["sep_penalty"]
    assert added == pytest.approx(40.0, rel=1e-2)


def test_regulariser_is_added_with_its_weight_beside_sep(digits: data.Dataset) -> None:
    regulariser = train.RegulariserConfig("hessian")
    both = dataclasses.replace(SEP, regulariser=regulariser, regulariser_weight=0.5)
    _, sums, _ = run(both, digits, [1], 2.0)
    terms = 2 * sums["sep_penalty"] + 2 * sums["regulariser_penalty"]
    assert sums["loss"] == pytest.approx(sums["cross_entropy"] + terms, rel=1e-5)
    assert sums["regulariser_gradient_ratio"] > 0
    assert sums["sep_penalty"] == pytest.approx(run(SEP, digits, [1], 2.0)[1]["sep_penalty"], rel=1e-5)
    with pytest.raises(InputError, match="a regulariser needs a weight and a weight a regulariser"):
        dataclasses.replace(PLAIN, regulariser=regulariser)
    with pytest.raises(InputError, match="a regulariser needs a weight and a weight a regulariser"):
        dataclasses.replace(PLAIN, regulariser_weight=1.0)


def test_every_image_is_seen_once_an_epoch_in_another_order(
    digits: data.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_spy(model_fn: Any, batch_fn: Any, inner: Any, config: Any) -> Any:
        def objective(key: Any, params: Any, stats: Any, images: Array, labels: Array) -> tuple[Array, Auxiliary]:
            number = images[:, 0, 0, 0] * 64
            sums = {"cross_entropy": jnp.sum(number), "accuracy": jnp.sum(number**2)}
            return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(params)), Auxiliary(stats, sums)

        return objective

    monkeypatch.setitem(train.OBJECTIVES, "spy", train.Objective(make_spy))
    numbered = np.zeros_like(digits.images)
    numbered[:, 0, 0, 0] = np.arange(64) / 64
    config = dataclasses.replace(PLAIN, objective="spy", augment=False)
    dataset = dataclasses.replace(digits, images=numbered)
    _, sums, _ = run(config, dataset, [4])
    assert sums["cross_entropy"] == sum(range(64))
    assert sums["accuracy"] == sum(i * i for i in range(64))
    batches = [run(config, dataset, list(range(1, stop + 1)))[1]["accuracy"] for stop in (1, 4, 5)]
    assert batches[2] - batches[1] != batches[0], "the second epoch begins with the batch of the first"


def test_every_step_and_every_key_draws_anew(digits: data.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_spy(model_fn: Any, batch_fn: Any, inner: Any, config: Any) -> Any:
        def objective(key: Any, params: Any, stats: Any, images: Array, labels: Array) -> tuple[Array, Auxiliary]:
            drawn = {"cross_entropy": jax.random.uniform(key), "accuracy": jnp.sum(images)}
            return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(params)), Auxiliary(stats, drawn)

        return objective

    monkeypatch.setitem(train.OBJECTIVES, "drawing_spy", train.Objective(make_spy))
    config = dataclasses.replace(PLAIN, objective="drawing_spy")
    run_steps = train.make_run_steps(MODEL, config, 64)
    images, labels = jax.device_put((np.ones_like(digits.images), digits.labels))
    seen: list[tuple[float, float]] = []
    for key in (KEY, jax.random.key(4)):
        state = state_of(config)
        for stop in range(1, 9):
            state, sums, _ = run_steps(state, images, labels, key, {}, jnp.int32(stop))
            seen.append((float(sums["cross_entropy"]), float(sums["accuracy"])))
    attack_draws, kept_pixels = zip(*seen, strict=True)
    assert len(set(attack_draws)) == 16
    assert len(set(kept_pixels)) > 8, "the crops of all-white images leave the same number of pixels at every step"


def test_no_implicit_transfer_inside_a_stretch(digits: data.Dataset) -> None:
    run_steps = train.make_run_steps(MODEL, PLAIN, 64)
    run(PLAIN, digits, [1])  # compiled before
    arguments = jax.device_put((digits.images, digits.labels, KEY, {}))
    stops = jax.device_put([np.int32(2), np.int32(4)])
    state = state_of(PLAIN)
    with jax.transfer_guard("disallow"):
        for stop in stops:
            state, sums, fault = run_steps(state, *arguments, stop)
    assert int(state.step) == 4
    with jax.transfer_guard("disallow"), pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        run_steps(state, digits.images, *arguments[1:], stops[0])


def test_a_stretch_writes_over_the_state_it_is_given(digits: data.Dataset) -> None:
    run_steps = train.make_run_steps(MODEL, PLAIN, 64)
    state = state_of(PLAIN)
    leaves = [leaf for leaf in jax.tree.leaves(state) if leaf.size > 1]
    size = sum(leaf.nbytes for leaf in leaves)
    arguments = jax.device_put((digits.images, digits.labels, KEY, {}, np.int32(1)))
    compiled = run_steps.lower(state, *arguments).compile()
    assert compiled.memory_analysis().alias_size_in_bytes >= size > 0
    run_steps(state, *arguments)
    assert all(leaf.is_deleted() for leaf in leaves)


def test_an_epoch_is_one_call_without_transfers_and_one_synchronisation(
    digits: data.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops, fetched = [], []
    make_runner, device_get = loop.make_runner, jax.device_get

    def guarded_runner(*arguments: Any, **settings: Any) -> Any:
        run = make_runner(*arguments, **settings)

        def guarded(state: train.TrainState, weights: dict, stop: int) -> Any:
            stops.append(stop)
            with jax.transfer_guard("disallow"):
                return run(state, weights, stop)

        return guarded

    def counted(tree: Any) -> Any:
        fetched.append(tree)
        return device_get(tree)

    monkeypatch.setattr(loop, "make_runner", guarded_runner)
    monkeypatch.setattr(jax, "device_get", counted)
    train.fit(KEY, MODEL, digits, PLAIN, log_every=10**6)
    assert stops == [4, 8, 12, 16]
    assert len(fetched) == 4

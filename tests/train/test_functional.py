"""Training of NNX, Equinox and hand-written networks: the steps of a Linen network of the same parameters."""

import dataclasses
import pathlib
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from digit_runs import KEY, PLAIN, SEP, assert_equal
from flax import nnx

from jsep import data, models, train
from jsep.checks import InputError

SHAPE = (8, 8, 1)


class LinenNetwork(models.Classifier):
    with_norm: bool = True

    @nn.compact
    def __call__(self, images: Any, train: bool = False) -> Any:
        x = nn.Dense(6, name="first")(images.reshape(len(images), -1))
        if self.with_norm:
            x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        return nn.Dense(10, name="last")(nn.softplus(x))


class NnxNetwork(nnx.Module):
    def __init__(self, dropout: float = 0.0, with_norm: bool = True) -> None:
        rngs = nnx.Rngs(0)
        self.layers = nnx.List([nnx.Linear(64, 6, rngs=rngs), nnx.Linear(6, 10, rngs=rngs)])
        self.norm = nnx.BatchNorm(6, rngs=rngs) if with_norm else lambda x: x
        self.dropout = nnx.Dropout(dropout, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.layers[1](nnx.softplus(self.norm(self.dropout(self.layers[0](x.reshape(len(x), -1))))))


def equinox_network() -> Any:
    keys = jax.random.split(jax.random.key(0))
    first, last = eqx.nn.Linear(64, 6, key=keys[0]), eqx.nn.Linear(6, 10, key=keys[1])
    return eqx.nn.Sequential([eqx.nn.Lambda(jnp.ravel), first, eqx.nn.Lambda(jax.nn.softplus), last])


def by_hand_init(key: Any, input_shape: tuple[int, ...]) -> Any:
    first, last = jax.random.split(key)
    shapes = (64, 6), (6,), (6, 10), (10,)
    return [jax.random.normal(k, s) / 8 for k, s in zip((first, first, last, last), shapes, strict=True)]


def by_hand(params: Any, images: Any) -> Any:
    w, b, v, c = params
    return jax.nn.softplus(images.reshape(len(images), -1) @ w + b) @ v + c


def twin(name: str) -> tuple[models.Functional, Any]:
    """A network, and the variables of a LinenNetwork with its parameters."""
    if name.startswith("nnx"):
        network = models.from_module(NnxNetwork(with_norm=name == "nnx"))
        p = models.init(KEY, network, SHAPE)
        layers = [{part: p["params"][f"layers/{i}/{part}"] for part in ("kernel", "bias")} for i in (0, 1)]
        if name == "nnx without statistics":
            return network, {"params": {"first": layers[0], "last": layers[1]}}
        norm = {part: p["params"][f"norm/{part}"] for part in ("scale", "bias")}
        statistics = {"norm": {part: p["batch_stats"][f"norm/{part}"] for part in ("mean", "var")}}
        return network, {
            "params": {"first": layers[0], "last": layers[1], "norm": norm}, "batch_stats": statistics
        }  # fmt: skip
    if name == "equinox":
        network = models.from_module(equinox_network())
        p = models.init(KEY, network, SHAPE)["params"]
        layers = [{"kernel": p[f"layers/{i}/weight"].T, "bias": p[f"layers/{i}/bias"]} for i in (1, 3)]
    else:
        network = models.Functional(by_hand_init, by_hand, "mine")
        # The key of the initial parameters, as `train.fit` splits it.
        w, b, v, c = models.init(jax.random.split(KEY)[0], network, SHAPE)["params"]
        layers = [{"kernel": w, "bias": b}, {"kernel": v, "bias": c}]
    return network, {"params": {"first": layers[0], "last": layers[1]}}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nnx", "nnx without statistics", "equinox", "by hand"])
@pytest.mark.parametrize("objective", train.OBJECTIVES)
def test_training_takes_the_steps_of_a_linen_network(digits: data.Dataset, name: str, objective: str) -> None:
    config = dataclasses.replace(SEP, objective=objective, epochs=1, attack=train.PgdConfig("linf", 0.1, 0.05, 2))
    network, variables = twin(name)
    linen = LinenNetwork(10, with_norm=name == "nnx")
    state = train.fit(KEY, network, digits, config)
    expected = train.fit(KEY, linen, digits, config, initial=variables)
    image = digits.as_float()[0]
    found = models.logits_fn(network, state.variables)(image)
    before = models.logits_fn(linen, variables)(image)
    after = models.logits_fn(linen, expected.variables)(image)
    assert np.abs(after - before).max() > 0.03
    np.testing.assert_allclose(found, after, rtol=2e-3, atol=2e-4)


@pytest.mark.slow
def test_resumed_training_of_an_nnx_module_equals_an_uninterrupted_one(
    digits: data.Dataset, tmp_path: pathlib.Path
) -> None:
    config, module = dataclasses.replace(PLAIN, epochs=2, ema_decay=0.9), NnxNetwork()
    before = jax.tree.map(jnp.copy, nnx.state(module, nnx.Param))
    whole = train.fit(KEY, models.from_module(module), digits, config)
    assert_equal(jax.tree.leaves(nnx.state(module, nnx.Param)), jax.tree.leaves(before))

    def kill(record: dict) -> None:
        if record["step"] == 6:
            raise InterruptedError

    for on_log in (kill, None):
        network = models.from_module(NnxNetwork())  # as another process makes it
        described = train.describe(KEY, config, network, digits)
        with train.Checkpoints(tmp_path / "checkpoints", described) as checkpoints:
            if on_log is not None:
                with pytest.raises(InterruptedError):
                    train.fit(KEY, network, digits, config, on_log=on_log, checkpoints=checkpoints, log_every=2)
            else:
                resumed_at: list[int] = []
                state = train.fit(
                    KEY, network, digits, config, checkpoints=checkpoints, log_every=2, on_resume=resumed_at.append
                )
    assert resumed_at == [4]
    assert_equal(state, whole)


@pytest.mark.parametrize("make", [NnxNetwork, lambda: NnxNetwork(with_norm=False), equinox_network])
def test_trained_variables_go_back_into_a_module(digits: data.Dataset, make: Any) -> None:
    module = make()
    network, image = models.from_module(module), digits.as_float()[0]
    variables = jax.tree.map(lambda leaf: leaf + 0.1, models.init(KEY, network, SHAPE))
    before = models.wrap(module, input_shape=SHAPE)(image)
    found = models.wrap(network.to_module(variables), input_shape=SHAPE)(image)
    np.testing.assert_allclose(found, models.logits_fn(network, variables)(image), rtol=1e-5, atol=1e-6)
    assert np.abs(found - before).max() > 1e-3
    np.testing.assert_array_equal(models.wrap(module, input_shape=SHAPE)(image), before)  # the given one stays
    assert models.Functional(by_hand_init, by_hand, "mine").to_module is None


def test_what_cannot_be_trained_is_told(digits: data.Dataset) -> None:
    with pytest.raises(InputError, match="takes an NNX or an Equinox module, got int"):
        models.from_module(3)
    network = models.from_module(NnxNetwork(dropout=0.5))
    variables = models.init(KEY, network, SHAPE)
    assert models.logits_fn(network, variables)(digits.as_float()[0]).shape == (10,)
    with pytest.raises(InputError, match="draws random numbers in training"):
        models.batch_fn(network)(variables, digits.as_float(slice(2)), train=True)
    with pytest.raises(InputError, match="draws random numbers in training"):
        train.fit(KEY, network, digits, dataclasses.replace(PLAIN, objective="mat"))
    with pytest.raises(InputError, match=r"dataset must be a data.Dataset, got tuple; .*from_arrays"):
        train.fit(KEY, LinenNetwork(10), (digits.as_float(), digits.labels), PLAIN)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="has no softplus_beta"):
        models.model_fn(network)(variables, digits.as_float()[0], 3.0)

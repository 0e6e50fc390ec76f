"""A program follows the platform that it is compiled for, not that of the process that traces it."""

import functools
import re
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import attack, explain, models, train

PLATFORMS = ("cpu", "cuda", "tpu")
IMAGE = jnp.asarray(np.random.default_rng(0).uniform(size=(8, 8, 3)), jnp.float32)


NETWORKS = {
    "convnet": models.ConvNet(num_classes=3, widths=(4, 6)),
    "resnet": models.ResNet(num_classes=3, stage_sizes=(1, 1), width=8),
    "mobilenet_v2": models.create("mobilenet_v2", num_classes=3, input_shape=(8, 8, 3)),
}


def network(name: str) -> Any:
    model = NETWORKS[name]
    return functools.partial(models.model_fn(model), models.init(jax.random.key(0), model, (8, 8, 3)))


def attacked(logits_fn: Any, image: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Reverse mode, and the second derivatives of an attack on a map."""
    map_fn = explain.make_map_fn("gradient_x_input", logits_fn, 1)
    target = map_fn(image[::-1])
    moved, _ = attack.attack_explanation(
        jax.random.key(0), map_fn, logits_fn, image, target, num_steps=2, learning_rate=1e-3, map_weight=1e7,
        output_weight=1.0,
    )  # fmt: skip
    return map_fn(image), moved


@pytest.mark.parametrize("name", ["convnet", pytest.param("mobilenet_v2", marks=pytest.mark.long)])
def test_one_export_is_right_on_this_machine_and_lowered_for_the_others(name: str) -> None:
    function = jax.jit(functools.partial(attacked, network(name)))
    exported = jax.export.export(
        function, platforms=PLATFORMS, disabled_checks=[jax.export.DisabledSafetyCheck.custom_call("*")]
    )(IMAGE)
    assert exported.platforms == PLATFORMS
    for own, stored in zip(function(IMAGE), exported.call(IMAGE), strict=True):
        np.testing.assert_allclose(stored, own, rtol=1e-4, atol=1e-6)


def text_for(platform: str, function: Any, *arguments: Any) -> str:
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("name", ["convnet", "resnet", pytest.param("mobilenet_v2", marks=pytest.mark.slow)])
def test_other_platforms_get_the_library_s_convolutions_alone(name: str) -> None:
    """No patches, shifted images, blocks or polynomials of a processor."""
    logits_fn = network(name)
    gradient = jax.grad(lambda image: logits_fn(image)[0])
    texts = {platform: text_for(platform, gradient, IMAGE) for platform in PLATFORMS}
    for platform in ("cuda", "tpu"):
        num_convolutions = len(re.findall(r"stablehlo\.convolution", texts[platform]))
        num_products = len(re.findall(r"stablehlo\.dot_general", texts[platform]))
        assert num_convolutions >= len(re.findall(r"stablehlo\.convolution", texts["cpu"]))
        assert num_products == 1, "the gradient of the head"
        assert "optimization_barrier" not in texts[platform]
        assert "log_plus_one" in texts[platform]
    assert "log_plus_one" not in texts["cpu"]


def test_training_step_takes_a_batch_in_parts_on_cpu_alone() -> None:
    model = NETWORKS["convnet"]
    config = train.TrainConfig(epochs=1, batch_size=64, attack=train.PgdConfig(num_steps=2))
    texts = {}
    for platform in PLATFORMS:
        program, arguments = train.step_program(model, config, (8, 8, 3), 64, platform=platform)
        texts[platform] = program.trace(*arguments).lower(lowering_platforms=(platform,)).as_text()
    assert "32x8x8x3" in texts["cpu"]
    assert "32x8x8x3" not in texts["cuda"]
    assert "tensor<f64>" not in texts["cuda"]
    assert "f64" not in texts["tpu"]

"""Models of any framework as functions of one image: each framework does each task as the function by hand does."""

import flax.linen as nn
import in_frameworks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from in_frameworks import FRAMEWORKS, IMAGES, SHAPE, by_hand

from jsep import attack, data, evaluate, explain, landscape, models
from jsep.checks import InputError

IMAGE, OTHER = jnp.asarray(IMAGES[0]), jnp.asarray(IMAGES[1])
LABELS = np.asarray(jnp.argmax(jax.vmap(by_hand)(IMAGES), axis=1))
DATASET = data.from_arrays(IMAGES, LABELS, num_classes=3)
PAIRS = evaluate.PairIndex("arrays", "test", 12, "points", 2, 0, (0, 3), (1, 2))
KEY = jax.random.key(0)


def accuracies(logits_fn):
    return evaluate.accuracies(KEY, logits_fn, DATASET, epsilon=0.3, alpha=0.1, num_steps=3)


def auto_attack(logits_fn):
    version = attack.AutoAttackConfig(attacks=("apgd-ce",), num_steps=5)
    clean, robust, info = evaluate.auto_attack_accuracy(KEY, logits_fn, DATASET, epsilon=0.2, version=version)
    return clean, robust, info.distance


def explanation_attack(logits_fn):
    target = explain.explanation_map(explain.gradient_x_input(logits_fn, OTHER, 1))

    def map_fn(image):
        return explain.explanation_map(explain.gradient_x_input(logits_fn, image, 1))

    settings = {"num_steps": 5, "learning_rate": 1e-2, "map_weight": 1e3, "output_weight": 1.0}
    return attack.attack_explanation(KEY, map_fn, logits_fn, IMAGE, target, **settings)[0]


def robustness(logits_fn):
    settings = attack.TargetedConfig(num_steps=5, learning_rate=1e-2, map_weight=1e3, output_weight=1.0)
    config = evaluate.ExplanationAttackConfig(epsilon=0.1, settings=settings)
    found = evaluate.explanation_robustness(KEY, logits_fn, DATASET, PAIRS, config)
    return found.loss_start, found.loss_end


def curvature(logits_fn):
    return landscape.trace(KEY, lambda image: logits_fn(image)[1], IMAGE, num_probes=2)


TASKS = {
    "logits": lambda logits_fn: jax.vmap(logits_fn)(IMAGES),
    "gradient": lambda logits_fn: explain.gradient(logits_fn, IMAGE, 1),
    "features": lambda logits_fn: evaluate.features(logits_fn, DATASET),
    "lrp": lambda logits_fn: explain.lrp(logits_fn, IMAGE, 1),
    "guided_backprop": lambda logits_fn: explain.guided_backprop(logits_fn, IMAGE, 1),
    "accuracies": accuracies,
    "auto_attack": auto_attack,
    "explanation_attack": explanation_attack,
    "explanation_robustness": robustness,
    "map_diagnostics": lambda logits_fn: list(evaluate.map_diagnostics(KEY, logits_fn, IMAGES).values()),
    "curvature": curvature,
}


def check(name: str, tasks: tuple[str, ...], *, may_skip: bool) -> None:
    logits_fn = in_frameworks.wrapped(name, may_skip=may_skip)
    for task in tasks:
        for found, expected in zip(*(jax.tree.leaves(TASKS[task](f)) for f in (logits_fn, by_hand)), strict=True):
            # Ten attack steps amplify rounding.
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5, err_msg=f"{name}: {task}")


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_framework_gives_the_logits_and_gradients_of_the_function_by_hand(name: str) -> None:
    check(name, ("logits", "gradient"), may_skip=True)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_plain_calls_on_a_model_of_every_framework_compile_once(name: str) -> None:
    logits_fn = in_frameworks.wrapped(name, may_skip=True)
    compiled = [0]

    def note(event: str, seconds: float, **_: object) -> None:
        compiled[0] += "backend_compile" in event

    def call(turn: int) -> jax.Array:
        image = IMAGE * (1 - 0.1 * turn)
        return jax.block_until_ready(explain.integrated_gradients(logits_fn, image, turn, num_steps=2))

    expected = jax.jit(lambda image: explain.integrated_gradients(logits_fn, image, 2, num_steps=2))(IMAGE * 0.8)
    call(0)
    jax.monitoring.register_event_duration_secs_listener(note)
    found = [call(turn) for turn in (1, 2)]
    jax.monitoring.unregister_event_duration_listener(note)
    assert compiled == [0]
    np.testing.assert_allclose(found[1], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_framework_does_every_task(name: str) -> None:
    check(name, tuple(TASKS), may_skip=False)
    model_fn, variables = models.split_variables(in_frameworks.wrapped(name, may_skip=False))
    if variables is not None:
        assert sum(leaf.size for leaf in jax.tree.leaves(variables)) >= 24 * 6 + 6 + 6 * 3
        gradient = jax.grad(lambda v: model_fn(v, IMAGE)[0], allow_int=True)(variables)
        assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(gradient) if g.dtype == jnp.float32) > 0.1


def test_models_of_one_structure_share_compiled_programs_and_carry_their_variables() -> None:
    traces = []
    call = jax.jit(lambda f, v, image: traces.append(1) or f(v, image), static_argnums=0)
    for scale in (1.0, 2.0):
        network = in_frameworks.NnxNetwork()
        network.last.kernel.value *= scale
        model_fn, variables = models.split_variables(models.wrap(network, input_shape=SHAPE))
        np.testing.assert_allclose(call(model_fn, variables, IMAGE), scale * by_hand(IMAGE), rtol=1e-4)
        assert not network.dropout.deterministic, "the module of the caller stays in its mode"
    assert len(traces) == 1
    again = models.wrap(models.wrap(network, input_shape=SHAPE), input_shape=SHAPE)
    assert jax.tree.structure(models.split_variables(again)[1]) == jax.tree.structure(variables)


def test_channels_range_and_normalisation_are_what_the_model_sees() -> None:
    def seen(images):
        assert images.shape[1:] == (2, 4, 3)
        return images.reshape(len(images), -1)

    logits_fn = models.wrap(
        seen, input_shape=SHAPE, channels_first=True, input_range=(-1, 1), mean=(0.5, -0.5), std=(2,)
    )
    expected = (2 * IMAGE - 1 - np.array([0.5, -0.5])) / 2
    np.testing.assert_allclose(logits_fn(IMAGE), expected.transpose(2, 0, 1).ravel(), rtol=1e-5, atol=1e-6)


def test_parts_of_an_output_are_selected() -> None:
    logits_fn = models.wrap(
        lambda images: {"logits": jax.vmap(by_hand)(images), "auxiliary": images},
        input_shape=SHAPE,
        select=lambda output: output["logits"],
    )
    np.testing.assert_allclose(logits_fn(IMAGE), by_hand(IMAGE), rtol=1e-5)
    of_one_logit = models.wrap(
        lambda image: image.sum(), input_shape=SHAPE, select=lambda z: jnp.stack([-z, z], axis=-1)
    )
    np.testing.assert_allclose(of_one_logit(IMAGE), jnp.sum(IMAGE) * np.array([-1, 1]), rtol=1e-5)


def test_log_probabilities_are_logits_of_which_one_is_warned() -> None:
    with pytest.warns(UserWarning, match="returns log-probabilities.*take the log_softmax out"):
        logits_fn = models.wrap(of_logits(jax.nn.log_softmax), input_shape=SHAPE)
    np.testing.assert_allclose(logits_fn(IMAGE), jax.nn.log_softmax(by_hand(IMAGE)), rtol=1e-5)


class AlwaysTraining(nnx.Module):
    def __init__(self) -> None:
        self.norm = nnx.BatchNorm(24, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.norm(x.reshape(len(x), -1), use_running_average=False)


def of_logits(change):
    return lambda images: change(jax.vmap(by_hand)(images))


LINEN = nn.Sequential([lambda x: x.reshape(len(x), -1), nn.Dense(3), nn.BatchNorm()])
DENSE = {"kernel": in_frameworks.W[:, :3], "bias": np.zeros(3, np.float32)}


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (of_logits(jax.nn.softmax), {}, "returns probabilities .*take the softmax out"),
        (of_logits(lambda z: (z, z)), {}, r"alone, got a tuple of 2; pick them by select=lambda output: output\[0\]"),
        (
            of_logits(lambda z: {"y": z}),
            {},
            r"alone, got a dict of 'y'; pick them by select=lambda output: output\['y'\]",
        ),
        (of_logits(lambda z: z[:, 0]), {}, r"got one number; for one logit z give both classes: select=.*jnp.stack"),
        (
            of_logits(lambda z: z[:, :1]),
            {},
            "for one logit z give both classes: select=.*jnp.concatenate",
        ),
        (of_logits(lambda z: z[:, None]), {}, r"must return logits \(B, K\), got shape \(2, 1, 3\) for 2 images"),
        (of_logits(lambda z: z.astype(int)), {}, "floating point, got dtype int32"),
        (of_logits(lambda z: z / 0), {}, "logits for a random image are not finite"),
        (of_logits(lambda z: z - z.mean(axis=0)), {}, "other logits beside another image.*statistics of the batch"),
        (
            lambda x: x.reshape(len(x), -1) @ jnp.ones((7, 3)),
            {},
            r"fails for an image \(4, 3, 2\) .* for images \(B, 4",
        ),
        (3, {}, "must be a function or a module of Flax, Equinox, Haiku, Keras or PyTorch, got int"),
        (LINEN, {}, "a Linen module needs its variables"),
        (AlwaysTraining(), {}, "changes norm.* in a forward pass of evaluation mode"),
        (in_frameworks.NnxNetwork(), {"variables": {"params": {}}}, "an NNX module takes no variables beside itself"),
        (by_hand, {"input_shape": (3, 32, 32)}, r"channels first\? Give \(32, 32, 3\)"),
        (by_hand, {"input_shape": (4, 3)}, r"input_shape must be \(H, W, C\)"),
        (by_hand, {"input_range": (1, 0)}, "low < high"),
        (by_hand, {"mean": (1, 2, 3)}, "mean must be one number for each of the 2 channels, got 3"),
        (by_hand, {"mean": (123.7, 116)}, r"mean must be in units of input_range, 0 to 1, .*input_range=\(0, 255\)"),
        (by_hand, {"std": (0.0,)}, "std must be > 0"),
        (by_hand, {"std": (58.0,)}, "std must be in units of input_range"),
    ],
)
def test_what_is_no_classifier_of_images_is_told(model, options, message) -> None:
    with pytest.raises(InputError, match=message):
        models.wrap(model, **{"input_shape": SHAPE, **options})


def test_function_that_could_be_of_one_image_or_of_a_batch_must_say_so() -> None:
    def pooled(images):
        return images.mean(axis=(1, 2))

    with pytest.raises(InputError, match="4 logits of one image and 2 other ones .*batched=True or batched=False"):
        models.wrap(pooled, input_shape=SHAPE)
    logits_fn = models.wrap(pooled, input_shape=SHAPE, batched=True)
    np.testing.assert_allclose(logits_fn(IMAGE), IMAGE.mean(axis=(0, 1)), rtol=1e-5)


def test_linen_in_training_mode_is_told() -> None:
    with pytest.raises(InputError, match="fails for images .*training mode"):
        models.wrap(LINEN, {"params": {"layers_1": DENSE}}, input_shape=SHAPE)


def test_model_that_takes_channels_first_is_found_out() -> None:
    with pytest.raises(InputError, match="it takes its channels first: give channels_first=True"):
        models.wrap(lambda images: images.sum(axis=(2, 3)) @ jnp.ones((2, 5)), input_shape=SHAPE)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (IMAGE[None], "image must be one .H, W, C. image, got shape .1, 4, 3, 2.; for a batch use jax.vmap"),
        (np.zeros(SHAPE, np.uint8), "divide uint8 images by 255"),
        (jnp.zeros((3, 4, 2)), r"was wrapped for images \(4, 3, 2\), got one of shape \(3, 4, 2\)"),
    ],
)
def test_wrong_images_are_told(image, message) -> None:
    with pytest.raises(InputError, match=message):
        in_frameworks.of_batches()(image)


def test_evaluations_say_what_a_function_of_the_image_lacks() -> None:
    with pytest.raises(InputError, match="returns probabilities"):
        evaluate.accuracies(KEY, lambda image: jax.nn.softmax(by_hand(image)), DATASET, num_steps=0)
    with pytest.raises(TypeError, match="missing"):
        evaluate.accuracies(KEY, by_hand)
    with pytest.raises(InputError, match="dataset must be a Dataset"):
        evaluate.accuracies(KEY, by_hand, IMAGES)


def test_normalisation_is_one_number_or_one_a_channel_in_any_form_and_of_the_range() -> None:
    expected = models.wrap(by_hand, input_shape=SHAPE, mean=(0.5, 0.5), std=(0.25, 0.25))(IMAGE)
    for mean, std in ((0.5, 0.25), (np.full(2, 0.5), jnp.full(2, 0.25))):
        np.testing.assert_allclose(models.wrap(by_hand, input_shape=SHAPE, mean=mean, std=std)(IMAGE), expected)
    scaled = models.wrap(by_hand, input_shape=SHAPE, input_range=np.array([0, 255]), mean=0, std=1)(IMAGE)
    np.testing.assert_allclose(scaled, by_hand(255 * IMAGE), rtol=1e-5)
    with pytest.raises(InputError, match="as of images in"):
        models.wrap(by_hand, input_shape=SHAPE, input_range=(0, 255), mean=0.485, std=0.229)


def test_a_module_in_the_place_of_a_function_is_told_to_be_wrapped() -> None:
    with pytest.raises(InputError, match=r"got a module of Flax: give models\.wrap"):
        explain.gradient(nn.Dense(3), IMAGE, 0)

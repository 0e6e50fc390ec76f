"""Stability, faithfulness and sanity of the explanations of many images: the single-image functions, batched."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jsep import explain
from jsep.checks import InputError, as_images, check_count, check_positive
from jsep.evaluate.faithfulness import (
    adversarial_insertion,
    area_under_curve,
    deletion_curve,
    insertion_curve,
    road_curve,
)
from jsep.evaluate.metric import QUALITY, plain, register
from jsep.evaluate.model_arguments import takes_logits_fn
from jsep.evaluate.randomisation import permute_weights, randomisation_similarity
from jsep.evaluate.stability import max_sensitivity, neighbours, relative_stability
from jsep.types import Array, Key, MapFn, ModelFn, PyTree


@dataclasses.dataclass(frozen=True)
class PropertiesConfig:
    """The settings of `explanation_properties`.

    radius, num_neighbours: of the stability measures, see `neighbours`; num_steps: of the deletion and insertion
      curves;
    num_road_steps: of ROAD.
    """

    radius: float = 0.02
    num_neighbours: int = 16
    num_steps: int = 16
    num_road_steps: int = 8

    def __post_init__(self) -> None:
        check_positive("radius", self.radius)
        for name in ("num_neighbours", "num_steps", "num_road_steps"):
            check_count(name, getattr(self, name))


@functools.partial(
    jax.jit, static_argnames=("model_fn", "features_fn", "method", "options", "map_config", "config", "chunk_size")
)
def _describe(
    keys: Array,
    model_fn: ModelFn,
    features_fn: ModelFn,
    variables: PyTree,
    randomised: PyTree,
    images: Array,
    manipulated: Array,
    method: str,
    options: explain.Options,
    map_config: explain.MapConfig,
    config: PropertiesConfig,
    chunk_size: int,
) -> dict[str, Array]:
    def one(inputs: tuple[Array, Array, Array]) -> dict[str, Array]:
        key, image, other = inputs
        near_key, road_key, map_key = jax.random.split(key, 3)
        logits_fn = functools.partial(model_fn, variables)
        label = jnp.argmax(logits_fn(image))

        def map_fn_of(its_variables: PyTree) -> MapFn:
            its_logits_fn = functools.partial(model_fn, its_variables)
            return explain.make_map_fn(
                method, its_logits_fn, label, map_config=map_config, key=map_key, **dict(options)
            )

        map_fn = map_fn_of(variables)
        own, after = map_fn(image), map_fn(other)
        near = neighbours(near_key, image, radius=config.radius, num_samples=config.num_neighbours)
        stability = relative_stability(
            map_fn, logits_fn, functools.partial(features_fn, variables), image, near, chunk_size=chunk_size
        )
        steps = {"num_steps": config.num_steps, "chunk_size": chunk_size}
        return {
            "max_sensitivity": max_sensitivity(map_fn, image, near, chunk_size=chunk_size),
            "relative_input_stability": stability.to_input,
            "relative_output_stability": stability.to_output,
            "relative_representation_stability": stability.to_representation,
            "deletion_auc": area_under_curve(deletion_curve(logits_fn, image, label, own, **steps)),
            "insertion_auc": area_under_curve(insertion_curve(logits_fn, image, label, own, **steps)),
            "adversarial_insertion": adversarial_insertion(logits_fn, image, label, own, after, **steps),
            "road": jnp.mean(
                road_curve(
                    road_key, logits_fn, image, label, own, num_steps=config.num_road_steps, chunk_size=chunk_size
                )
            ),
            "randomised_similarity": randomisation_similarity(map_fn_of, variables, randomised, image),
        }

    # Sequential over images, with neighbours and steps in chunks: these bound the memory.
    return jax.lax.map(one, (keys, images, manipulated))


@takes_logits_fn
def explanation_properties(
    key: Key,
    model_fn: ModelFn,
    features_fn: ModelFn,
    variables: PyTree,
    images: np.ndarray,
    manipulated: np.ndarray,
    *,
    method: str = "gradient_x_input",
    options: explain.Options = (),
    map_config: explain.MapConfig | None = None,
    config: PropertiesConfig | None = None,
    chunk_size: int = 16,
) -> dict[str, np.ndarray]:
    """Stability, faithfulness and sanity measures of the explanations of P images, by name: (P,) each.

    Over neighbours: "max_sensitivity", "relative_input_stability" (RIS), "relative_output_stability" and
    "relative_representation_stability". With a black baseline: "deletion_auc", "insertion_auc". "road": the mean of its
    curve. "adversarial_insertion": the change of the insertion AUC by manipulation, see `adversarial_insertion`.
    "randomised_similarity": Spearman's rho with the map of the same model with permuted weights. The explained class is
    the prediction on the image.

    Args: key: for neighbours, noise and permutation; model_fn, features_fn: (variables, image) -> logits (K,), features
      (F,), or both of the image alone and no variables; images, manipulated: (P, H, W, C) in [0, 1]; method, options,
      map_config: the explanation; config: default `PropertiesConfig()`; chunk_size: neighbours, or images of a curve,
      in memory at once.
    Raises: InputError for images of different shape, an unknown method or a count out of range.
    """
    explain.check_options(method, options)
    check_count("chunk_size", chunk_size)
    if np.shape(images) != np.shape(manipulated) or np.ndim(images) != 4:
        raise InputError(f"expected images and their manipulated versions of one shape (P, H, W, C), got "
                         f"{np.shape(images)} and {np.shape(manipulated)}")  # fmt: skip
    images, manipulated = as_images(images), as_images(manipulated, "manipulated")
    image_key, weight_key = jax.random.split(key)
    keys = jax.vmap(functools.partial(jax.random.fold_in, image_key))(jnp.arange(len(images)))
    found = _describe(
        keys, model_fn, features_fn, variables, permute_weights(weight_key, variables), images, manipulated, method,
        options, map_config or explain.MapConfig(), config or PropertiesConfig(), chunk_size,
    )  # fmt: skip
    return {name: np.asarray(values) for name, values in found.items()}


register(
    plain("deletion_auc", "deletion AUC", QUALITY,
        "Mean probability of the class while pixels are blackened, those that the map marks most first. "
        "Lower: the map names pixels that the model uses."),
    plain("insertion_auc", "insertion AUC", QUALITY,
        "The same while they are put onto black. Higher: more faithful."),
    plain("road", "ROAD", QUALITY,
        "As deletion, the pixels imputed from their neighbours. Lower: more faithful."),
    plain("adversarial_insertion", "adv. insertion", QUALITY,
        "Insertion AUC of the clean image in the order of the manipulated map, less that of its own. Below 0: "
        "the attack made the map less faithful."),
    plain("max_sensitivity", "max sensitivity", QUALITY,
        "Largest relative change of the map (L2) over random neighbours of the image. Lower: more stable.", -1),
    plain("relative_input_stability", "RIS", QUALITY,
        "Relative input stability: largest per-cent change of the map over that of the input. Near 0 for "
        "images with many black pixels, whatever the map does.", -1, decimals=None),
    plain("relative_output_stability", "ROS", QUALITY,
        "The same over the change of the logits.", -1, decimals=None),
    plain("relative_representation_stability", "RRS", QUALITY,
        "The same over that of the features.", -1, decimals=None),
    plain("randomised_similarity", "randomised", QUALITY,
        "Spearman correlation to the map of the same model with permuted weights. Near 1: the explanation "
        "does not see the model."),
)  # fmt: skip

"""Explanation regularisers: loss terms from the literature for robust explanations, as alternatives to SEP.

A regulariser is a function (key, config, logits_fn, image, label) -> () of one image, differentiated in the parameters
inside `logits_fn`. A new one is one function and one line in `EXPLANATION_REGULARISERS`.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jsep import attack, explain
from jsep.attack.pgd import ascend
from jsep.checks import InputError, check_choice, check_count, check_epsilon, check_positive
from jsep.compiled import compiled, depends_on
from jsep.train.batch_attack import check_batch_labels
from jsep.types import Array, Key, LogitsFn, ModelFn, PyTree


@dataclasses.dataclass(frozen=True)
class RegulariserConfig:
    """An explanation regulariser and its settings; settings of other regularisers are ignored.

    name: a key of `EXPLANATION_REGULARISERS`.
    noise_scale: "lga": half width of the uniform noise, pixel units.
    cosine_weight: "lga": weight of the cosine term relative to the squared distance.
    cure_step: "cure": h, L2 norm in pixel units.
    epsilon, alpha, num_steps: "ig_norm": linf radius and step size (pixel units) and number of steps of the attack.
    path_steps: "ig_norm": number of points on the path of integrated gradients.
    top_k, num_gaps, hessian_weight: "r2et": k, k' and the weight of the Hessian norm.
    """

    name: str
    noise_scale: float = 4 / 255
    cosine_weight: float = 1.0
    cure_step: float = 1.5
    epsilon: float = 8 / 255
    alpha: float = 2 / 255
    num_steps: int = 7
    path_steps: int = 5
    top_k: int = 100
    num_gaps: int = 100
    hessian_weight: float = 1.0

    def __post_init__(self) -> None:
        check_choice("explanation regulariser", self.name, EXPLANATION_REGULARISERS)
        for field in ("noise_scale", "cure_step"):
            check_positive(field, getattr(self, field))
        for field in ("cosine_weight", "alpha", "hessian_weight"):
            check_positive(field, getattr(self, field), allow_zero=True)
        check_epsilon(self.epsilon)
        for field in ("num_steps", "path_steps", "top_k", "num_gaps"):
            check_count(field, getattr(self, field))
        if self.num_gaps > self.top_k:
            raise InputError(f"num_gaps must be at most top_k, got {self.num_gaps} and {self.top_k}")


RegulariserFn = Callable[[Key, RegulariserConfig, LogitsFn, Array, Array], Array]


def lga(key: Key, config: RegulariserConfig, logits_fn: LogitsFn, image: Array, label: Array) -> Array:
    """Local gradient alignment: |g(x + z) - g(x)|^2 + cosine_weight (1 - cos(g(x + z), g(x))) / 2.

    g: the gradient of the logit of `label`; z: uniform noise. As in the published code, g(x) is held constant.
    Returns: () >= 0; the derivative of the cosine is 0 where a gradient vanishes.
    Reference: Joo et al. 2023, section 4 (form and constants of the published code).
    """
    noise = jax.random.uniform(key, image.shape, image.dtype, -config.noise_scale, config.noise_scale)
    moved = explain.gradient(logits_fn, image + noise, label)
    own = jax.lax.stop_gradient(explain.gradient(logits_fn, image, label))
    squares = jnp.sum(moved**2) * jnp.sum(own**2)
    cosine = jnp.where(squares == 0, 0.0, jnp.sum(moved * own) / jnp.sqrt(jnp.where(squares == 0, 1.0, squares)))
    return jnp.sum((moved - own) ** 2) + config.cosine_weight * (1 - cosine) / 2


def _hessian_square(key: Key, logits_fn: LogitsFn, image: Array, label: Array) -> Array:
    probe = jax.random.normal(key, image.shape, image.dtype)
    product = jax.jvp(lambda z: explain.gradient(logits_fn, z, label), (image,), (probe,))[1]
    return jnp.sum(product**2)


def hessian(key: Key, config: RegulariserConfig, logits_fn: LogitsFn, image: Array, label: Array) -> Array:
    """|H v|^2 for Gaussian v: an unbiased estimate of the squared Frobenius norm of the Hessian H of the label's logit.

    E |H v|^2 = tr(H^T H) = |H|_F^2.
    Reference: Dombrowski et al. 2022, section 5 (curvature minimisation, by Hutchinson's estimator).
    """
    return _hessian_square(key, logits_fn, image, label)


def cure(key: Key, config: RegulariserConfig, logits_fn: LogitsFn, image: Array, label: Array) -> Array:
    """|grad l(x + h z) - grad l(x)|^2 with z = sign(grad l(x)) / |sign(grad l(x))|, l the cross-entropy, h = cure_step.

    z is held constant; `key` is not used.
    Reference: Moosavi-Dezfooli et al. 2019, equation 6.
    """
    slope = jax.grad(attack.cross_entropy(logits_fn, label))
    own = slope(image)
    direction = jax.lax.stop_gradient(attack.norm_by_name("l2").step(jnp.sign(own)))
    return jnp.sum((slope(image + config.cure_step * direction) - own) ** 2)


def ig_norm(key: Key, config: RegulariserConfig, logits_fn: LogitsFn, image: Array, label: Array) -> Array:
    """|IG(x, x')|_1 at the x' in the ball that maximises l(x') + |IG(x, x')|_1, l the cross-entropy.

    IG(x, x') = (x' - x) * mean of grad l at path_steps midpoints of the line from x to x'; its sum approximates
    l(x') - l(x). x' is found by sign steps from a random start and is held constant.
    Reference: Chen et al. 2019 (robust attribution regularisation), equation 7 with the 1-norm (IG-NORM).
    """
    loss = attack.cross_entropy(logits_fn, label)
    places = (jnp.arange(config.path_steps) + 0.5) / config.path_steps

    def size(moved: Array) -> Array:
        slopes = jax.vmap(lambda place: jax.grad(loss)(image + place * (moved - image)))(places)
        return jnp.sum(explain.absolute((moved - image) * jnp.mean(slopes, axis=0)))

    worst, *_ = ascend(
        key,
        lambda z: loss(z) + size(z),
        image,
        epsilon=config.epsilon,
        alpha=config.alpha,
        num_steps=config.num_steps,
    )
    return size(jax.lax.stop_gradient(worst))


def r2et(key: Key, config: RegulariserConfig, logits_fn: LogitsFn, image: Array, label: Array) -> Array:
    """hessian_weight |H| - ranking thickness, the latter sum_(i = 1..k') a_(k - k' + i) - a_(k + i).

    a_(1) >= a_(2) >= ...: the sorted |gradient of the label's logit|, summed over channels; |H|: the square root of
    `hessian`. The thickness is the margin between the last k' of the top k pixels and the k' pixels that follow.
    Returns: () of either sign, in units of the gradient. Raises: InputError when an image has fewer pixels than k + k'.
    Reference: Chen et al. 2024 (R2ET), section 4: the ranking thickness is bounded by the margins and the Hessian.
    """
    k, gaps = config.top_k, config.num_gaps
    if k + gaps > image.shape[0] * image.shape[1]:
        raise InputError(
            f"top_k + num_gaps must be at most the pixels of an image, got {k} + {gaps} of {image.shape[:2]}"
        )
    saliency = explain.gradient(logits_fn, image, label)
    ordered = -jnp.sort(-jnp.sum(explain.absolute(saliency), axis=-1).ravel())
    thickness = jnp.sum(ordered[k - gaps : k] - ordered[k : k + gaps])
    square = _hessian_square(key, logits_fn, image, label)
    norm = jnp.where(square == 0, 0.0, jnp.sqrt(jnp.where(square == 0, 1.0, square)))
    return config.hessian_weight * norm - thickness


EXPLANATION_REGULARISERS: dict[str, RegulariserFn] = {
    "lga": lga,
    "hessian": hessian,
    "cure": cure,
    "ig_norm": ig_norm,
    "r2et": r2et,
}
"""name -> explanation regulariser."""

depends_on(EXPLANATION_REGULARISERS)


def batch_regulariser(
    key: Key, config: RegulariserConfig, model_fn: ModelFn, variables: PyTree, images: Array, labels: Array
) -> Array:
    """The mean regularisation term of a batch, a function to differentiate in `variables`.

    Args: as `batch_penalty`; labels: the true classes. Returns: (); of either sign for "r2et", else >= 0.
    """

    check_batch_labels(model_fn, variables, images, labels)
    return _mean_of_batch(key, config, model_fn, variables, images, labels)


@compiled
def _mean_of_batch(
    key: Key, config: RegulariserConfig, model_fn: ModelFn, variables: PyTree, images: Array, labels: Array
) -> Array:
    def one(key: Key, image: Array, label: Array) -> Array:
        return EXPLANATION_REGULARISERS[config.name](key, config, lambda z: model_fn(variables, z), image, label)

    return jnp.mean(jax.vmap(one)(jax.random.split(key, len(images)), images, labels))

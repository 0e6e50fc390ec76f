"""The targeted attack on an explanation: an image whose map is another image's, with the prediction unchanged."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jsep.attack.norms import norm_by_name, project_to_ball_and_box
from jsep.checks import InputError, check_count, check_epsilon, check_image, check_positive
from jsep.types import Array, Key, LogitsFn, MapFn


class _Best(NamedTuple):
    image: Array
    loss: Array
    step: Array


class ExplanationAttackInfo(NamedTuple):
    """What an explanation attack saw on its way.

    losses: (num_steps + 1,) mean squared difference to the target map, before every step and after the last.
    label_kept: () bool, the returned image has the clean image's predicted class.
    best_step: () int, the step at which the returned image stood; 0 is the start, or the clean image after a random
      start from which no visited image was better.
    distance: () norm of the perturbation (linf when the attack is unbounded, unless `norm` says otherwise).
    """

    losses: Array
    label_kept: Array
    best_step: Array
    distance: Array


def attack_explanation(
    key: Key,
    map_fn: MapFn,
    logits_fn: LogitsFn,
    image: Array,
    target_map: Array,
    *,
    num_steps: int,
    learning_rate: Any,
    map_weight: Any,
    output_weight: Any,
    epsilon: Any = None,
    norm: str = "linf",
    random_start: bool = False,
    beta_growth: tuple[float, float] | None = None,
) -> tuple[Array, ExplanationAttackInfo]:
    """Adam on  map_weight * mean((I(z) - target)^2) + output_weight * mean((softmax f(z) - softmax f(x))^2).

    After every step z is put back into [0, 1] and, with `epsilon`, into the ball around `image`. The result is the
    visited
    image with the smallest explanation loss among those that keep the predicted class of `image` (the start is one).

    Args:
      key: for the random start only.
      map_fn: image -> map (H, W), the explained class fixed (to the prediction on `image`, in Dombrowski et al.).
      logits_fn: image -> logits (K,).
      image: the victim, (H, W, C) float in [0, 1].
      target_map: (H, W), what the map shall become; the explanation loss is at most 2/N for maps that sum to 1.
      num_steps: Adam steps, >= 0.
      learning_rate: of Adam, in pixel units.
      map_weight, output_weight: weights of the two terms; Adam is invariant to their common scale up to its 1e-8.
      epsilon: radius of the ball, or None for none.
      norm: "linf" or "l2".
      random_start: start at a random image of the ball (needs `epsilon`), the clean image being only the fallback.
      beta_growth: (first, last) softplus beta of a geometric schedule over the steps. `map_fn` and `logits_fn` are then
        called with a second argument, the beta; the losses along the way are of the current beta, and the last visited
        image that keeps the class under the functions' own activation (called without a beta) is returned.

    Returns: (adversarial (H, W, C), ExplanationAttackInfo). One pair; batch with `jax.vmap`.
    Raises: InputError for a map, budget, count or image that does not fit.
    Reference: Dombrowski et al. 2019, equation 3 and appendix; PAPER section "explanation attack".
    """
    ball = norm_by_name(norm)
    check_image(image)
    check_count("num_steps", num_steps, minimum=0)
    check_positive("learning_rate", learning_rate)
    check_positive("map_weight", map_weight, allow_zero=True)
    check_positive("output_weight", output_weight, allow_zero=True)
    if epsilon is not None:
        check_epsilon(epsilon, norm)
    elif random_start:
        raise InputError("random_start needs a ball to draw from: pass epsilon, or random_start=False")
    image = jnp.asarray(image)
    shape = jax.eval_shape(map_fn, image).shape
    if shape != jnp.shape(target_map):
        raise InputError(f"target_map must have the shape of map_fn's maps, {shape}, got {jnp.shape(target_map)}")

    clean_logits = logits_fn(image)
    label = jnp.argmax(clean_logits)
    optimizer = optax.adam(learning_rate)
    grows = beta_growth is not None
    # One row per visited image; () where the functions take no beta.
    betas: tuple[Array, ...] = ()
    if beta_growth is not None:
        first, last = beta_growth
        check_positive("beta_growth", first)
        check_positive("beta_growth", last)
        betas = (jnp.geomspace(first, last, num_steps + 1),)

    def put_back(candidate: Array) -> Array:
        if epsilon is None:
            return jnp.clip(candidate, 0.0, 1.0)
        return project_to_ball_and_box(ball, image, candidate, epsilon)

    def loss(candidate: Array, beta: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
        logits = logits_fn(candidate, *beta)
        clean_output = jax.nn.softmax(logits_fn(image, *beta) if grows else clean_logits)
        map_loss = jnp.mean((map_fn(candidate, *beta) - target_map) ** 2)
        output_loss = jnp.mean((jax.nn.softmax(logits) - clean_output) ** 2)
        own_logits = logits_fn(candidate) if grows else logits  # the class that counts is the unchanged model's
        return map_weight * map_loss + output_weight * output_loss, (map_loss, jnp.argmax(own_logits) == label)

    def keep_best(best: _Best, candidate: Array, map_loss: Array, label_kept: Array, step: Array) -> _Best:
        # Losses under different betas do not compare: there the newest image that keeps the class is the best one.
        better = label_kept & ((step > 0) if grows else (map_loss <= best.loss))
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), _Best(candidate, map_loss, step), best)

    def body(carry: tuple, inputs: tuple) -> tuple[tuple, Array]:
        candidate, adam_state, best = carry
        step, *beta = inputs
        gradient, (map_loss, label_kept) = jax.grad(loss, has_aux=True)(candidate, tuple(beta))
        best = keep_best(best, candidate, map_loss, label_kept, step)
        updates, adam_state = optimizer.update(gradient, adam_state)
        return (put_back(candidate + updates), adam_state, best), map_loss

    start = image
    if random_start:
        start = put_back(image + ball.random(key, image.shape, epsilon).astype(image.dtype))
    best = _Best(image, jnp.mean((map_fn(image) - target_map) ** 2), jnp.int32(0))
    steps = jnp.arange(num_steps, dtype=jnp.int32)
    inputs = (steps, *(column[:-1] for column in betas))
    (final, _, best), losses = jax.lax.scan(body, (start, optimizer.init(start), best), inputs)
    _, (last_loss, last_kept) = loss(final, tuple(column[-1] for column in betas))
    best = keep_best(best, final, last_loss, last_kept, jnp.int32(num_steps))
    adversarial = best.image
    info = ExplanationAttackInfo(
        losses=jnp.append(losses, last_loss),
        label_kept=jnp.argmax(logits_fn(adversarial)) == label,
        best_step=best.step,
        distance=ball.size(adversarial - image),
    )
    return adversarial, info

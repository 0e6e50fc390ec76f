"""Explanation robustness of a model: the targeted attack on all pairs, and what it leaves of the explanation loss."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep import attack, explain
from jsep.checks import check_count, check_epsilon, check_positive
from jsep.data import Dataset
from jsep.evaluate import metrics
from jsep.evaluate.selection import PairIndex
from jsep.types import Array, Key, MapFn, ModelFn, PyTree

AnyArray = np.ndarray | Array


@dataclasses.dataclass(frozen=True)
class ExplanationAttackConfig:
    """The explanation attack of an evaluation: see `attack.attack_explanation`.

    method, map_config: the explanation that is measured, and attacked unless `attacked_method` says otherwise.
    attacked_method: another, differentiable explanation that the attack follows; None for `method` itself.
    epsilon: None means no ball, as in Dombrowski et al.
    """

    method: str = "gradient_x_input"
    attacked_method: str | None = None
    map_config: explain.MapConfig = explain.MapConfig()
    num_steps: int = 1000
    learning_rate: float = 1e-3
    map_weight: float = 1e7
    output_weight: float = 1e6
    epsilon: float | None = None
    norm: str = "linf"

    def __post_init__(self) -> None:
        explain.method(self.method)
        explain.check_differentiable(self.attacked_method or self.method)
        attack.norm_by_name(self.norm)
        check_count("num_steps", self.num_steps, minimum=0)
        check_positive("learning_rate", self.learning_rate)
        for name in ("map_weight", "output_weight"):
            check_positive(name, getattr(self, name), allow_zero=True)
        if self.epsilon is not None:
            check_epsilon(self.epsilon, self.norm)


class PairResults(NamedTuple):
    """Everything measured on P pairs: arrays with P rows (without them inside the compiled function).

    manipulated: (P, H, W, C); victim_map, target_map, manipulated_map: (P, H, W); losses: (P, num_steps + 1) along
    the attack, of the attacked explanation;
    loss_start, loss_end, cosine_start, cosine_end: (P,) of the victim's and the manipulated image's map to the target
    map;
    effective_pixels: (P,) of the victim's map; label_kept: (P,) bool; predicted, manipulated_predicted: (P,) classes;
    distance: (P,) norm of the perturbation.
    """

    manipulated: AnyArray
    victim_map: AnyArray
    target_map: AnyArray
    manipulated_map: AnyArray
    losses: AnyArray
    loss_start: AnyArray
    loss_end: AnyArray
    cosine_start: AnyArray
    cosine_end: AnyArray
    effective_pixels: AnyArray
    label_kept: AnyArray
    predicted: AnyArray
    manipulated_predicted: AnyArray
    distance: AnyArray

    def summary(self) -> dict[str, float]:
        """The means over pairs that `result.json` holds; the reduction is of the mean losses."""
        num_pixels = self.victim_map[0].size
        start, end = float(self.loss_start.mean()), float(self.loss_end.mean())
        return {
            "explanation_loss_start": start,
            "explanation_loss_end": end,
            "scale_free_loss_start": start * num_pixels**2,
            "scale_free_loss_end": end * num_pixels**2,
            "relative_reduction": float(metrics.relative_reduction(start, end)),
            "cosine_start": float(self.cosine_start.mean()),
            "cosine_end": float(self.cosine_end.mean()),
            "effective_pixels": float(self.effective_pixels.mean()),
            "label_kept": float(self.label_kept.mean()),
        }


@functools.partial(jax.jit, static_argnames=("model_fn", "config", "chunk_size"))
def _attack_pairs(
    key: Key,
    model_fn: ModelFn,
    variables: PyTree,
    victims: Array,
    targets: Array,
    config: ExplanationAttackConfig,
    chunk_size: int,
) -> PairResults:
    logits_fn = functools.partial(model_fn, variables)

    def map_fn_for(method: str, image: Array, key: Key) -> tuple[Array, MapFn]:
        predicted = jnp.argmax(logits_fn(image))
        # The samples of a method that draws, the same in the attack and in the measurement.
        key = jax.random.fold_in(key, 1)
        return predicted, explain.make_map_fn(method, logits_fn, predicted, map_config=config.map_config, key=key)

    def one(inputs: tuple[Key, Array, Array]) -> PairResults:
        key, victim, target = inputs
        _, target_map_fn = map_fn_for(config.method, target, key)
        predicted, map_fn = map_fn_for(config.method, victim, key)
        target_map, victim_map = target_map_fn(target), map_fn(victim)
        attacked = config.attacked_method or config.method
        attacked_map_fn = map_fn_for(attacked, victim, key)[1]
        attacked_target = target_map if attacked == config.method else map_fn_for(attacked, target, key)[1](target)
        settings = {
            field: getattr(config, field)
            for field in ("num_steps", "learning_rate", "map_weight", "output_weight", "epsilon", "norm")
        }
        manipulated, info = attack.attack_explanation(
            key, attacked_map_fn, logits_fn, victim, attacked_target, **settings
        )
        manipulated_map = map_fn(manipulated)
        manipulated_predicted = jnp.argmax(logits_fn(manipulated))
        return PairResults(
            manipulated,
            victim_map,
            target_map,
            manipulated_map,
            info.losses,
            metrics.explanation_loss(victim_map, target_map),
            metrics.explanation_loss(manipulated_map, target_map),
            metrics.cosine_similarity(victim_map, target_map),
            metrics.cosine_similarity(manipulated_map, target_map),
            metrics.effective_pixels(victim_map),
            manipulated_predicted == predicted,
            predicted,
            manipulated_predicted,
            info.distance,
        )

    keys = jax.random.split(key, len(victims))
    return jax.lax.map(one, (keys, victims, targets), batch_size=min(chunk_size, len(victims)))


def explanation_robustness(
    key: Key,
    model_fn: ModelFn,
    variables: PyTree,
    dataset: Dataset,
    pairs: PairIndex,
    config: ExplanationAttackConfig,
    *,
    chunk_size: int = 256,
) -> PairResults:
    """Attacks the explanation of every victim towards its target's, all pairs in one compiled scan.

    The explained class of an image is the model's prediction on it, and stays fixed during the attack.

    Args: model_fn: (variables, image) -> logits (K,); dataset, pairs: the images by their index; chunk_size: pairs in
    memory at once. Returns: PairResults; `.summary()` has the means that `result.json` holds.
    Raises: InputError when the index was made for other data, or a setting does not fit; RuntimeError when an
      image that the attack handed back is not within its budget.
    Reference: PAPER, "explanation loss at start / at end".
    """
    check_count("chunk_size", chunk_size)
    pairs.check_fits(dataset)
    victims, targets = (dataset.as_float(np.asarray(indices)) for indices in (pairs.victims, pairs.targets))
    results = PairResults(
        *(
            np.asarray(values)
            for values in _attack_pairs(key, model_fn, variables, victims, targets, config, chunk_size)
        )
    )
    _check_budget(np.asarray(results.manipulated), victims, config)
    return results


def _check_budget(manipulated: np.ndarray, victims: np.ndarray, config: ExplanationAttackConfig) -> None:
    """The evaluator's own look at what the attack handed back: valid pixels, inside the ball up to rounding."""
    if manipulated.min() < 0 or manipulated.max() > 1:
        raise RuntimeError(f"the attack left the valid pixels: [{manipulated.min():g}, {manipulated.max():g}]")
    if config.epsilon is None:
        return
    change = (manipulated.astype(np.float64) - victims).reshape(len(victims), -1)
    used = np.abs(change).max() if config.norm == "linf" else np.linalg.norm(change, axis=1).max()
    if used > config.epsilon * (1 + 1e-5) + 1e-6:
        raise RuntimeError(f"the attack left its {config.norm} ball of {config.epsilon:g}: it used {used:g}")

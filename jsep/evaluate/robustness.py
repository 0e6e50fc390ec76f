"""Explanation robustness of a model: an attack on all pairs, and the explanation loss before and after it."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep import attack, devices, explain
from jsep.attack import ExplanationAttack, PairProblem
from jsep.checks import InputError, check_count, check_epsilon, check_logits, check_output, check_pixels, check_positive
from jsep.data import Dataset
from jsep.evaluate import metrics
from jsep.evaluate.chunk_store import ChunkStore
from jsep.evaluate.metric import PAPER, SCALE_FREE, loss, minor, percent, plain, register, scale_free
from jsep.evaluate.model_arguments import takes_logits_fn
from jsep.evaluate.selection import PairIndex
from jsep.numerics import softmax
from jsep.types import Array, Key, LogitsFn, MapFn, ModelFn, PyTree

AnyArray = np.ndarray | Array


@dataclasses.dataclass(frozen=True)
class ExplanationAttackConfig:
    """The explanation attack of an evaluation.

    method, map_config: the explanation that is measured, and attacked unless `attacked_method` names another;
    method_options: of `method`, as ((name, value), ...).
    attacked_method: a differentiable explanation to attack instead of `method`, a transfer attack; None for `method`.
    epsilon: None means unbounded, as in Dombrowski et al.
    attack: of `attack.EXPLANATION_ATTACKS`; settings: its own configuration, None for its defaults.
    softmax_tolerance: the largest change of a softmax entry; None: only the predicted class is kept.
    """

    method: str = "gradient_x_input"
    method_options: explain.Options = ()
    attacked_method: str | None = None
    map_config: explain.MapConfig = explain.MapConfig()
    epsilon: float | None = None
    norm: str = "linf"
    attack: str = "targeted"
    settings: Any = None
    softmax_tolerance: float | None = None

    def __post_init__(self) -> None:
        explain.check_options(self.method, self.method_options)
        attack.norm_by_name(self.norm)
        if self.epsilon is not None:
            check_epsilon(self.epsilon, self.norm)
        if self.entry.differentiable:
            explain.check_differentiable(self.attacked)
        else:
            explain.method(self.attacked)
        if self.softmax_tolerance is not None:
            check_positive("softmax_tolerance", self.softmax_tolerance, allow_zero=True)
        attack.check_attack_settings(self.attack, self.own_settings, self.epsilon, self.norm)

    @property
    def entry(self) -> ExplanationAttack:
        """The registered attack. Raises: InputError for an unknown name."""
        return attack.explanation_attack(self.attack)

    @property
    def own_settings(self) -> Any:
        """The attack's own configuration: `settings`, or its defaults."""
        return self.entry.config() if self.settings is None else self.settings

    @property
    def attacked(self) -> str:
        """The explanation method that is attacked."""
        return self.attacked_method or self.method

    @property
    def total_steps(self) -> int:
        """The number of attack steps on a pair, over all starts or ensemble members."""
        return self.entry.num_steps(self.own_settings)

    def options_of(self, method: str) -> explain.Options:
        """The options of `method` as measured or attacked: those given for `self.method`, none for another method."""
        return self.method_options if method == self.method else ()

    def make_map_fn(self, logits_fn: LogitsFn, label: Array, *, key: Key, method: str | None = None) -> MapFn:
        """image (H, W, C) -> map (H, W) for the class `label`, by `method`, default: the measured one."""
        method = method or self.method
        options = dict(self.options_of(method))
        return explain.make_map_fn(method, logits_fn, label, map_config=self.map_config, key=key, **options)

    def problem(self, map_fn: MapFn, logits_fn: LogitsFn, image: Array, target_map: Array) -> PairProblem:
        """One pair with the budget and the output constraint."""
        kept = (self.epsilon, self.norm, self.softmax_tolerance)
        return attack.PairProblem(map_fn, logits_fn, image, target_map, *kept)


class PairResults(NamedTuple):
    """The result of `explanation_robustness` on P pairs: arrays with P rows.

    manipulated: (P, H, W, C); victim_map, target_map, manipulated_map: (P, H, W); losses: (P, num_steps + 1) along
    the attack, for the attacked explanation;
    loss_start, loss_end, cosine_start, cosine_end: (P,) between the target map and the victim's map (start) or the
    manipulated image's map (end);
    effective_pixels: (P,) of the victim's map; label_kept: (P,) bool; predicted, manipulated_predicted: (P,) classes;
    distance: (P,) norm of the perturbation; softmax_change: (P,) largest change of a softmax entry;
    failed: (P,) bool, a map, an output or a gradient was not finite at any point of the attack: the result does not
    measure robustness;
    member_losses: (P, members) the lowest loss of each ensemble member on images that keep the output; for an attack
    without members one column, the lowest loss along the attack whether the output is kept or not;
    warnings: (P, 5) bool, the columns of `attack.ExplanationWarnings`, all False for an attack without warnings.
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
    softmax_change: AnyArray
    failed: AnyArray
    member_losses: AnyArray
    warnings: AnyArray

    def summary(self) -> dict[str, float]:
        """The means over pairs for result.json; the relative reduction is that of the mean losses.

        Failed pairs are left out, and counted as `failed_pairs` if there are any.
        """
        num_failed = int(np.sum(self.failed))
        if num_failed:
            rest = PairResults(*(values[~np.asarray(self.failed)] for values in self))
            return {**rest.summary(), "failed_pairs": float(num_failed)}
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
            "perturbation_size": float(self.distance.mean()),
        }


def explained_prediction(
    key: Key, logits_fn: LogitsFn, config: ExplanationAttackConfig, method: str, image: Array
) -> tuple[Array, MapFn]:
    """The class predicted on `image`, and the function image -> map of that class by `method`."""
    predicted = jnp.argmax(logits_fn(image))
    # A method that samples uses the same samples in the attack and in the measurement.
    key = jax.random.fold_in(key, 1)
    return predicted, config.make_map_fn(logits_fn, predicted, key=key, method=method)


@functools.partial(jax.jit, static_argnames=("model_fn", "config", "chunk_size", "on_step"))
def _attack_pairs(
    keys: Array,
    model_fn: ModelFn,
    variables: PyTree,
    victims: Array,
    targets: Array,
    config: ExplanationAttackConfig,
    chunk_size: int,
    on_step: attack.OnStep | None,
) -> PairResults:
    logits_fn = functools.partial(model_fn, variables)

    def map_fn_for(key: Key, method: str, image: Array) -> tuple[Array, MapFn]:
        return explained_prediction(key, logits_fn, config, method, image)

    def one(inputs: tuple[Key, Array, Array]) -> PairResults:
        key, victim, target = inputs
        _, target_map_fn = map_fn_for(key, config.method, target)
        predicted, map_fn = map_fn_for(key, config.method, victim)
        target_map, victim_map = target_map_fn(target), map_fn(victim)
        attacked_map_fn = map_fn_for(key, config.attacked, victim)[1]
        attacked_target = target_map
        if config.attacked != config.method:
            attacked_target = map_fn_for(key, config.attacked, target)[1](target)
        problem = config.problem(attacked_map_fn, logits_fn, victim, attacked_target)
        manipulated, record = config.entry.run(key, problem, config.own_settings, on_step)
        losses, member_losses, warnings, skipped = record
        if skipped is None:
            skipped = jnp.sum(~jnp.isfinite(losses))
        if member_losses is None:
            member_losses = jnp.min(losses, keepdims=True)
        if warnings is None:
            warnings = jnp.zeros(len(attack.WARNING_SENTENCES), bool)
        manipulated_map = map_fn(manipulated)
        # Recomputed from the returned image alone: no value reported by the attack is trusted.
        manipulated_logits = logits_fn(manipulated)
        manipulated_predicted = jnp.argmax(manipulated_logits)
        softmax_change = jnp.abs(softmax(manipulated_logits) - softmax(logits_fn(victim)))
        loss_start = metrics.explanation_loss(victim_map, target_map)
        loss_end = metrics.explanation_loss(manipulated_map, target_map)
        return PairResults(
            manipulated,
            victim_map,
            target_map,
            manipulated_map,
            losses,
            loss_start,
            loss_end,
            metrics.cosine_similarity(victim_map, target_map),
            metrics.cosine_similarity(manipulated_map, target_map),
            metrics.effective_pixels(victim_map),
            manipulated_predicted == predicted,
            predicted,
            manipulated_predicted,
            attack.norm_by_name(config.norm).size(manipulated - victim),
            jnp.max(softmax_change),
            ~(jnp.isfinite(loss_start) & jnp.isfinite(loss_end) & (skipped == 0)),
            member_losses,
            warnings,
        )

    return jax.lax.map(one, (keys, victims, targets), batch_size=min(chunk_size, len(victims)))


def _attack_on_devices(
    keys: Array,
    model_fn: ModelFn,
    variables: PyTree,
    victims: np.ndarray,
    targets: np.ndarray,
    config: ExplanationAttackConfig,
    chunk_size: int,
    on_step: attack.OnStep | None,
) -> dict[str, np.ndarray]:
    """The fields of `PairResults`; if the variables lie on a mesh, the pairs are distributed over its devices."""
    mesh = devices.mesh_of(variables)
    if mesh is None:
        attacked = _attack_pairs(keys, model_fn, variables, victims, targets, config, chunk_size, on_step)
        return {name: np.asarray(values) for name, values in attacked._asdict().items()}
    total = len(victims)
    rows = np.minimum(np.arange(devices.padded_size(total, mesh)), total - 1)
    pairs = devices.shard((keys[rows], victims[rows], targets[rows]), mesh)
    settings = (config, max(chunk_size // mesh.size, 1), on_step)

    def own_pairs(variables: PyTree, keys: Array, victims: Array, targets: Array) -> PairResults:
        return _attack_pairs(keys, model_fn, variables, victims, targets, *settings)

    attacked = devices.map_parts(own_pairs, mesh)(variables, *pairs)
    return {name: values[:total] for name, values in devices.to_host(attacked, mesh)._asdict().items()}


@takes_logits_fn
def explanation_robustness(
    key: Key,
    model_fn: ModelFn,
    variables: PyTree,
    dataset: Dataset,
    pairs: PairIndex,
    config: ExplanationAttackConfig,
    *,
    chunk_size: int = 256,
    store: str | Path | None = None,
    on_step: attack.OnStep | None = None,
) -> PairResults:
    """Attacks the explanation of every victim towards the map of its target, all pairs in one compiled scan.

    The explained class of an image is the model's prediction on it, and stays fixed during the attack.

    Args: model_fn, variables: (variables, image) -> logits (K,), or one logits_fn(image) for both; dataset, pairs: the
      images and their indices; chunk_size: pairs in memory at once; store: a directory that keeps every finished chunk;
      a repeated call continues from it with the same results; on_step: called from inside the scan with the number of
      steps that a chunk has just made, and once for a stored chunk with all of its steps.
    Returns: PairResults; `.summary()` gives the means for result.json. A pair with a non-finite loss is marked as
      failed and does not affect the others.
    Raises: InputError if the index was made for other data, the model returns probabilities, no pair has a finite map,
      a setting is out of range, or `store` holds chunks of another call; RuntimeError for a result out of budget.
    Reference: PAPER, "explanation loss at start / at end".
    """
    check_count("chunk_size", chunk_size)
    pairs.check_fits(dataset)
    victims, targets = (dataset.as_float(np.asarray(indices)) for indices in (pairs.victims, pairs.targets))
    check_pixels(victims, "victims")
    check_output(jax.eval_shape(model_fn, variables, victims[0]), "model_fn")
    check_logits(_logits(model_fn, variables, victims[:chunk_size]))
    keys = jax.random.split(key, len(victims))
    if store is None:
        results = PairResults(
            **_attack_on_devices(keys, model_fn, variables, victims, targets, config, chunk_size, on_step)
        )
    else:
        chunk_size = min(chunk_size, len(victims))
        chunks = ChunkStore(store, (jax.random.key_data(key), variables, victims, targets, repr(config), chunk_size))
        parts = []
        for first in range(0, len(victims), chunk_size):
            # Padded with the last pair, so that all chunks share one compilation.
            rows = np.minimum(np.arange(first, first + chunk_size), len(victims) - 1)
            part = chunks.load(first)
            if part is None:
                part = _attack_on_devices(
                    keys[rows], model_fn, variables, victims[rows], targets[rows], config, chunk_size, on_step
                )
                chunks.save(first, part)
            elif on_step is not None:
                on_step(config.total_steps)
            parts.append(part)
        joined = {name: np.concatenate([part[name] for part in parts])[: len(victims)] for name in parts[0]}
        results = PairResults(**joined)
    if np.all(results.failed):
        raise InputError(
            f"the maps of {config.method!r} are not finite on any of the {len(victims)} pairs: look at the model"
        )
    _check_budget(np.asarray(results.manipulated), victims, config)
    return results


@functools.partial(jax.jit, static_argnames="model_fn")
def _logits(model_fn: ModelFn, variables: PyTree, images: Array) -> Array:
    return jax.lax.map(lambda image: model_fn(variables, image), images)


def _check_budget(manipulated: np.ndarray, victims: np.ndarray, config: ExplanationAttackConfig) -> None:
    """Independent check of the returned images: pixels in [0, 1], and inside the ball up to rounding."""
    if manipulated.min() < 0 or manipulated.max() > 1:
        raise RuntimeError(f"the attack left the valid pixels: [{manipulated.min():g}, {manipulated.max():g}]")
    if config.epsilon is None:
        return
    change = (manipulated.astype(np.float64) - victims).reshape(len(victims), -1)
    used = np.abs(change).max() if config.norm == "linf" else np.linalg.norm(change, axis=1).max()
    if used > config.epsilon * (1 + 1e-5) + 1e-6:
        raise RuntimeError(f"the attack left its {config.norm} ball of {config.epsilon:g}: it used {used:g}")


def _reduction_of_pairs(per_pair: Mapping[str, np.ndarray]) -> np.ndarray:
    """(P,) values with mean 1 - R, R = mean(end) / mean(start): the reduction of the mean losses, linearised.

    1 - R - (end - R start) / mean(start). A ratio of means has no values for single pairs; these have its variance.
    """
    start, end = per_pair["explanation_loss_start"], per_pair["explanation_loss_end"]
    kept = end.mean() / start.mean()
    return 1 - kept - (end - kept * start) / start.mean()


register(
    loss("explanation_loss_start", "loss at start", PAPER,
        "Explanation loss before the attack on the explanation: N² times the mean squared difference between the maps "
        "of the victim and of the target image, N the number of pixels, averaged over the pairs. About 2 for two "
        "unrelated maps that use all pixels, at any image size."),
    loss("explanation_loss_end", "loss at end", PAPER,
        "The same loss after the attack: what the attacker could not remove. Higher: the paper calls the "
        "explanation more robust.", 1),
    percent("label_kept", "label kept", PAPER,
        "Share of the manipulated images whose predicted class is that of the victim. The attack is meant to "
        "move the map and not the prediction."),
    scale_free("scale_free_loss_start", "loss at start",
        "Explanation loss at the start times N², N the number of pixels: about 2 for two unrelated maps that "
        "use all pixels, at any image size."),
    scale_free("scale_free_loss_end", "loss at end",
        "The same at the end of the attack.", 1),
    percent("relative_reduction", "removed", SCALE_FREE,
        "Share of its own starting loss that the attack removes, (start - end) / start. Lower: harder to "
        "manipulate, whatever the size of the loss.", -1, of_pairs=_reduction_of_pairs),
    plain("cosine_start", "cosine start", SCALE_FREE,
        "Cosine between the maps of victim and target before the attack; 1 is the same map."),
    plain("cosine_end", "cosine end", SCALE_FREE,
        "The same after the attack. Higher: the attacker came closer to the target.", -1),
    plain("effective_pixels", "effective pixels", SCALE_FREE,
        "1 / Σ map²: on how many pixels the map effectively lies (N for an even map, 1 for a single pixel). "
        "The confound: a concentrated map has a high loss against any target, before and after an attack.",
        unit="px", decimals=1),
    minor("perturbation_size", "size of the change", PAPER, "Norm of the change of the image, pixel units."),
)  # fmt: skip

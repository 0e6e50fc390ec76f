"""AutoAttack: a fixed ensemble of attacks, each run on the images that are still classified correctly."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jsep.attack import reliability
from jsep.attack.norms import norm_by_name
from jsep.attack.prediction_attacks import AUTO_ATTACK_VERSIONS, PREDICTION_ATTACKS, AutoAttackConfig
from jsep.checks import InputError, as_images, check_choice, check_count, check_epsilon, check_labels, check_output
from jsep.compiled import compiled
from jsep.models.functions import split_variables
from jsep.types import Array, Key, LogitsFn, ModelFn, PyTree


class AutoAttackInfo(NamedTuple):
    """The record of a run of `auto_attack` on B images; NumPy arrays.

    clean_correct: (B,) bool, the clean image is classified correctly; robust: (B,) bool, so are all attacked ones.
    broken_by: (B,) str, the first attack that changed the prediction; "clean" if the clean image is misclassified,
      "" if the image is robust.
    distance: (B,) norm of the perturbation, 0 where the clean image is returned.
    robust_accuracy: attack -> fraction of the images still classified correctly after it; "clean" comes first.
    checks: the automatic checks; `raised` gives the sentences of those raised.
    not_finite: (B,) bool, an attack ended at an image with non-finite logits, and no attack broke the image: it counts
      as robust, although nothing is known about it.
    """

    clean_correct: np.ndarray
    robust: np.ndarray
    broken_by: np.ndarray
    distance: np.ndarray
    robust_accuracy: dict[str, float]
    checks: tuple[reliability.ReliabilityCheck, ...]
    not_finite: np.ndarray

    @property
    def success(self) -> np.ndarray:
        """(B,) bool: the returned image is misclassified, also if it is a misclassified clean image."""
        return ~self.robust

    @property
    def raised(self) -> tuple[str, ...]:
        """The sentences of the raised checks: reasons to distrust the robust accuracy."""
        return tuple(check.sentence for check in self.checks if check.raised)


@functools.partial(compiled, otherwise=functools.partial(jax.jit, static_argnames="model_fn"))
def _logits(model_fn: ModelFn, variables: PyTree, images: Any) -> Any:
    return jax.vmap(lambda image: model_fn(variables, image))(images)


@functools.partial(compiled, otherwise=functools.partial(jax.jit, static_argnames="model_fn"))
def _gradient_sizes(model_fn: ModelFn, variables: PyTree, images: Any, labels: Any) -> Array:
    logits_fn = functools.partial(model_fn, variables)
    return jax.vmap(functools.partial(reliability.gradient_sizes, logits_fn))(images, labels)


@functools.partial(
    compiled, otherwise=functools.partial(jax.jit, static_argnames=("name", "model_fn", "norm", "config"))
)
def _attack(
    name: str,
    model_fn: ModelFn,
    variables: PyTree,
    key: Key,
    indices: Any,
    images: Any,
    labels: Any,
    targets: Any,
    epsilon: Any,
    norm: str,
    config: AutoAttackConfig,
) -> tuple[Any, Any]:
    """(adversarial images, best objectives) of one chunk."""
    logits_fn = functools.partial(model_fn, variables)

    def one(index: Array, image: Array, label: Array, target: Array) -> tuple[Array, Array]:
        # The random numbers of an image depend on the key and the image's index alone, not on the chunk.
        image_key = jax.random.fold_in(key, index)
        return PREDICTION_ATTACKS[name].run(image_key, logits_fn, image, label, target, norm, epsilon, config)

    return jax.vmap(one)(indices, images, labels, targets)


def _chunks(indices: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """(`size` indices, how many of them count) for each chunk: the last chunk is padded with its last index.

    A repeated image is attacked like its original and stops with it, so the padding costs no further steps.
    """
    for first in range(0, len(indices), size):
        part = indices[first : first + size]
        yield np.concatenate([part, np.repeat(part[-1:], size - len(part))]), len(part)


def _size_for(count: int, size: int) -> int:
    """The chunk size for `count` images: `size`, divided by four as long as all images still fit.

    With few images left, most of a full chunk would be padding; every new shape costs a compilation, so there are few.
    """
    while size // 4 >= max(count, 1):
        size //= 4
    return size


class _Batch:
    """The model and the images under attack, evaluated in chunks of one size."""

    def __init__(self, model_fn: ModelFn, variables: PyTree, images: np.ndarray, labels: np.ndarray, size: int) -> None:
        self.model_fn, self.variables, self.images, self.labels, self.size = model_fn, variables, images, labels, size

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Logits (B, K) of any images."""
        found = [
            np.asarray(_logits(self.model_fn, self.variables, images[chunk]))[:count]
            for chunk, count in _chunks(np.arange(len(images)), self.size)
        ]
        return np.concatenate(found)

    def repeated_logits(self) -> list[np.ndarray]:
        """The logits of the first chunk, evaluated twice, and by two new programs if retracing changes the program."""
        first = self.images[: self.size]

        def lowered() -> Any:
            # A new function object, so that JAX traces it again.
            fresh = jax.jit(lambda variables, images: jax.vmap(lambda image: self.model_fn(variables, image))(images))
            return fresh.lower(self.variables, first)

        outputs = [np.asarray(_logits(self.model_fn, self.variables, first)) for _ in range(2)]
        one, other = lowered(), lowered()
        if one.as_text() != other.as_text():  # random numbers drawn at trace time, or names that contain an address
            outputs += [np.asarray(program.compile()(self.variables, first)) for program in (one, other)]
        return outputs

    def gradient_sizes(self, indices: np.ndarray) -> np.ndarray:
        """(len(indices), 2), see `reliability.gradient_sizes`."""
        found = [
            np.asarray(_gradient_sizes(self.model_fn, self.variables, self.images[chunk], self.labels[chunk]))[:count]
            for chunk, count in _chunks(indices, self.size)
        ]
        return np.concatenate(found) if found else np.zeros((0, 2))

    def attacked(
        self,
        name: str,
        key: Key,
        indices: np.ndarray,
        targets: np.ndarray,
        *,
        norm: str,
        epsilon: float,
        config: AutoAttackConfig,
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """For each chunk: (indices, their attacked images, whether each is valid and misclassified, whether its logits
        are non-finite, its objectives)."""
        for chunk, count in _chunks(indices, _size_for(len(indices), self.size)):
            images, labels = self.images[chunk], self.labels[chunk]
            found, objectives = _attack(
                name, self.model_fn, self.variables, key, chunk, images, labels, targets[chunk], epsilon,
                norm=norm, config=config,
            )  # fmt: skip
            # Evaluated again outside the attack's program: what counts is the class predicted for the returned image.
            logits = np.asarray(_logits(self.model_fn, self.variables, found))
            found, is_finite = np.asarray(found), np.isfinite(logits).all(axis=1)
            broken = is_finite & (logits.argmax(1) != labels) & _is_valid(found, images, norm, epsilon)
            rows = (found, broken, ~is_finite, np.asarray(objectives))
            yield chunk[:count], *(row[:count] for row in rows)


def _distances(images: np.ndarray, others: np.ndarray, norm: str) -> np.ndarray:
    """(B,) distances in float64, to avoid rounding in the sum."""
    flat = (images.astype(np.float64) - others).reshape(len(images), -1)
    return np.abs(flat).max(1) if norm == "linf" else np.linalg.norm(flat, axis=1)


def _is_valid(images: np.ndarray, clean: np.ndarray, norm: str, epsilon: float) -> np.ndarray:
    """(B,) bool: finite pixels in [0, 1], within the budget up to the rounding of float32 pixels."""
    flat = images.reshape(len(images), -1)
    in_box = np.all((flat >= 0) & (flat <= 1), axis=1)
    return in_box & (_distances(images, clean, norm) <= epsilon * (1 + 1e-5) + 1e-6)


def _checked(model_fn: ModelFn, variables: PyTree, images: Any, labels: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """(images, labels, K) in the form that the attacks need. Raises InputError for invalid input."""
    images = as_images(images)
    output = jax.eval_shape(model_fn, variables, jax.ShapeDtypeStruct(images.shape[1:], images.dtype))
    check_output(output)
    check_labels(labels, len(images), output.shape[0])
    return images, np.asarray(labels).astype(np.int32), output.shape[0]


def auto_attack(
    key: Key,
    logits_fn: LogitsFn,
    images: Any,
    labels: Any,
    *,
    norm: str = "linf",
    epsilon: float,
    version: str | AutoAttackConfig = "standard",
    chunk_size: int = 64,
    allow_probabilities: bool = False,
    on_progress: Callable[[str, dict[str, float]], None] | None = None,
) -> tuple[np.ndarray, AutoAttackInfo]:
    """AutoAttack on a batch: APGD on the cross-entropy, targeted APGD, targeted FAB and Square.

    A function of a batch (B, H, W, C) of concrete arrays, not of one image: call it outside of `jax.jit` and
    `jax.vmap`. It compiles internally, and each attack runs on the images that are still classified correctly.

    An image is broken if a perturbed image within the budget and in [0, 1] is misclassified, as evaluated again outside
    of the attack. All attacks run in compiled chunks of one shape, with the last one padded, and of a smaller shape
    once few images are left.

    Args:
      key: for the random starts and the random search.
      logits_fn: image -> logits (K,). Its parameters are arguments of the compiled programs, which all models of one
        architecture share, where they can be read (`jsep.compiled`); otherwise only of functools.partial(model_fn,
        variables), as returned by `models.logits_fn`.
      images: (B, H, W, C) float in [0, 1]; labels: (B,) their classes.
      norm: "linf" or "l2"; epsilon: budget, pixel units.
      version: a key of `AUTO_ATTACK_VERSIONS`, or an `AutoAttackConfig`. A model of K classes has at most K - 1
        targets; below 4 classes APGD-T maximises z_target - z_label, since the targeted DLR loss is undefined.
      chunk_size: images in memory at once.
      allow_probabilities: attack a model that returns probabilities, with a raised check, instead of refusing it.
      on_progress: called after each attack with its name and {"robust_accuracy", "attacked"}.

    Returns: (adversarial images (B, H, W, C), or the clean image where none was found or needed; AutoAttackInfo).
    Raises: InputError for images outside [0, 1], labels out of range, probabilities in place of logits, an unknown
      version or norm, or a budget out of range.
    Reference: Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
      parameter-free attacks".
    """
    norm_by_name(norm)
    check_epsilon(epsilon, norm)
    check_count("chunk_size", chunk_size)
    if isinstance(version, str):
        check_choice("version", version, AUTO_ATTACK_VERSIONS)
        config = AUTO_ATTACK_VERSIONS[version]
    else:
        config = version
    model_fn, variables = split_variables(logits_fn)
    epsilon = float(epsilon)
    images, labels, num_classes = _checked(model_fn, variables, images, labels)

    batch = _Batch(model_fn, variables, images, labels, min(chunk_size, len(images)))
    logits = batch.logits(images)
    if not np.all(np.isfinite(logits)):
        raise InputError("the logits of the clean images are not finite; check the model and its variables")
    if reliability.is_probability(logits) and not allow_probabilities:
        raise InputError(
            "the model returns probabilities (non-negative, sum 1), expected logits; remove its softmax, or pass "
            "allow_probabilities=True to attack it as it is"
        )
    clean_correct = logits.argmax(1) == labels
    num_targets = min(config.num_targets, num_classes - 1)
    # The other classes from the most to the least likely; the label is last.
    others = np.argsort(-np.where(np.arange(num_classes) == labels[:, None], -np.inf, logits), axis=1, kind="stable")

    robust, adversarial, not_finite = clean_correct.copy(), images.copy(), np.zeros(len(images), bool)
    broken_by = np.where(clean_correct, "", "clean").astype("<U16")
    checks = [
        reliability.randomised(batch.repeated_logits()),
        reliability.probabilities(logits),
        reliability.zero_gradients(batch.gradient_sizes(np.flatnonzero(robust))),
    ]
    if any(PREDICTION_ATTACKS[name].targeted for name in config.attacks):
        checks.append(reliability.few_classes(num_classes, config.num_targets))

    attacks = config.attacks if epsilon > 0 else ()  # a budget of 0 allows only the clean image
    for place, name in enumerate(attacks):
        before, curves = int(robust.sum()), []
        for rank in range(num_targets if PREDICTION_ATTACKS[name].targeted else 1):
            stage_key = jax.random.fold_in(jax.random.fold_in(key, place), rank)
            for chunk, found, broken, skipped, objectives in batch.attacked(
                name, stage_key, np.flatnonzero(robust), others[:, rank], norm=norm, epsilon=epsilon, config=config
            ):
                adversarial[chunk[broken]] = found[broken]
                robust[chunk[broken]], broken_by[chunk[broken]] = False, name
                not_finite[chunk] |= skipped
                curves.append(objectives[~broken])
        if on_progress is not None:
            on_progress(name, {"attacked": before, "robust_accuracy": float(robust.mean())})
        if name == "square" and place > 0:
            checks.append(reliability.square_beats_white_box(before / len(images), float(robust.mean())))
        if name.startswith("apgd") and all(check.name != "loss_not_rising" for check in checks):
            checks.append(reliability.loss_not_rising(np.concatenate(curves) if curves else np.zeros((0, 0))))

    not_finite &= robust  # another attack has decided the others
    if not_finite.any():
        checks.append(reliability.not_finite(int(not_finite.sum()), len(images)))

    # Every result is checked again, in the order in which the images are returned.
    restored = ~robust & clean_correct & (batch.logits(adversarial).argmax(1) == labels)
    adversarial[restored], robust[restored], broken_by[restored] = images[restored], True, ""
    left = [clean_correct, *(clean_correct & ~np.isin(broken_by, attacks[: i + 1]) for i in range(len(attacks)))]
    accuracy = {name: float(mask.mean()) for name, mask in zip(("clean", *attacks), left, strict=True)}
    distance = _distances(adversarial, images, norm)
    return adversarial, AutoAttackInfo(clean_correct, robust, broken_by, distance, accuracy, tuple(checks), not_finite)

"""One model's landscape on a batch of images: slices, planes and curvature, in one compiled function."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from jsep import attack, evaluate, landscape, train
from jsep.study.landscape_config import AnalysisConfig
from jsep.types import Array, Key, ModelFn, Objective, PyTree

IMAGES_AT_ONCE = 8
"""Hessian-vector products of larger batches are no faster on a CPU; points of an image fill the rest of a chunk."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The measurement, as one static argument of the compiled function.

    analysis: with at most as many Lanczos steps and eigenvalues as an image has pixels; epsilon: its budget, else the
    study's; scalars: (function, its directions) pairs; explanation, prediction: the attacks; sep: the term whose noise
    the functions draw; with_map: whether to measure the map itself too.
    """

    analysis: AnalysisConfig
    epsilon: float
    scalars: tuple[tuple[str, tuple[str, ...]], ...]
    explanation: evaluate.ExplanationAttackConfig
    prediction: train.PgdConfig
    sep: train.SepConfig
    with_map: bool = True

    def parts(self) -> list["Measurement"]:
        """One measurement per scalar function and one for the map: small programs compile faster than a large one."""
        functions = [dataclasses.replace(self, scalars=(scalar,), with_map=False) for scalar in self.scalars]
        return [*functions, dataclasses.replace(self, scalars=())]

    @property
    def points_at_once(self) -> int:
        """The number of points of one image in a chunk that it shares with other images."""
        return max(1, self.analysis.chunk_size // IMAGES_AT_ONCE)

    @property
    def ball(self) -> dict[str, Any]:
        """The ball of the sharpness and the Lipschitz estimate; the step size is an eighth of its radius."""
        return {
            "norm": self.analysis.norm,
            "epsilon": self.epsilon,
            "alpha": self.epsilon / 8,
            "num_steps": self.analysis.sharpness_steps,
            "chunk_size": self.points_at_once,
        }


def _case(
    key: Key, model_fn: ModelFn, variables: PyTree, image: Array, other: Array, label: Array, what: Measurement
) -> landscape.ScalarContext:
    logits_fn = functools.partial(model_fn, variables)

    def map_fn_at(z: Array) -> Any:
        # As in the evaluation: the map of the image's predicted class, held fixed, with one key for its random draws.
        return what.explanation.make_map_fn(logits_fn, jnp.argmax(logits_fn(z)), key=jax.random.fold_in(key, 1))

    noise = train.draw_noise(jax.random.fold_in(key, 2), what.sep, image.shape)
    return landscape.ScalarContext(logits_fn, label, image, map_fn_at(image), map_fn_at(other)(other), noise)


def _attacked(key: Key, case: landscape.ScalarContext, scalar: str, manipulated: Array, what: Measurement) -> Array:
    """The adversarial image of this function: from the explanation attack, or from PGD on the cross-entropy."""
    if scalar not in ("cross_entropy", "margin"):
        return manipulated
    objective = attack.cross_entropy(case.logits_fn, case.label)
    settings = dataclasses.asdict(what.prediction)
    return attack.pgd(jax.random.fold_in(key, 3), objective, case.image, **settings)[0]


def _lines(
    key: Key, names: tuple[str, ...], context: landscape.DirectionContext, eigenvector: Array, what: Measurement
) -> Array:
    """The directions, (D, H, W, C): `num_directions` for each random name, one for each other name."""
    own = what.analysis
    make = functools.partial(landscape.direction, context=context, epsilon=what.epsilon, norm=own.norm)
    rows = []
    for name in names:
        if name in landscape.RANDOM_DIRECTIONS:
            # The same directions for every model: the key depends only on the image.
            keys = jax.random.split(jax.random.fold_in(key, list(landscape.DIRECTIONS).index(name)), own.num_directions)
            rows.append(jax.vmap(lambda k, name=name: make(k, name))(keys))
        elif name == "eigenvector":
            rows.append(landscape.normalize(eigenvector, epsilon=what.epsilon, norm=own.norm)[None])
        else:
            rows.append(make(key, name)[None])
    return jnp.concatenate(rows)


def _curvature(key: Key, function: Objective, image: Array, what: Measurement) -> tuple[dict[str, Array], Array]:
    """The numbers of one function at one image, and the leading eigenvector."""
    own = what.analysis
    curvature_key, sharpness_key = jax.random.split(key)
    values, eigenvector, moments, measure = landscape.curvature(
        curvature_key, function, image, num_eigenvalues=own.num_eigenvalues, num_matvecs=own.num_matvecs,
        num_probes=own.num_probes, spectrum_probes=own.spectrum_probes, chunk_size=what.points_at_once,
    )  # fmt: skip
    sharpness = landscape.sharpness(sharpness_key, function, image, num_samples=own.sharpness_samples, **what.ball)
    numbers = {
        "value": function(image),
        "gradient_norm": jnp.sqrt(jnp.sum(jax.grad(function)(image) ** 2)),
        "eigenvalues": values,
        "top_eigenvalue": jnp.abs(values[0]),
        "trace": moments.trace,
        "trace_standard_error": moments.trace_standard_error,
        "frobenius_norm": moments.frobenius_norm,
        "frobenius_standard_error": moments.frobenius_standard_error,
        "average_sharpness": sharpness.average,
        "worst_sharpness": sharpness.worst,
        "spectrum_nodes": measure.nodes,
        "spectrum_weights": measure.weights,
    }
    return numbers, eigenvector


@functools.partial(jax.jit, static_argnames=("model_fn", "what"))
def measure(
    keys: Key,
    model_fn: ModelFn,
    variables: PyTree,
    images: Array,
    others: Array,
    manipulated: Array,
    labels: Array,
    *,
    what: Measurement,
) -> dict[str, Any]:
    """Everything but planes, for every image: {scalar: {quantity: (images, ...)}, "map": {quantity: (images,)}}."""
    own = what.analysis

    def one(inputs: tuple[Key, Array, Array, Array, Array]) -> dict[str, Any]:
        key, image, other, moved, label = inputs
        case = _case(key, model_fn, variables, image, other, label, what)
        found: dict[str, Any] = {}
        for index, (scalar, names) in enumerate(what.scalars):
            function = landscape.scalar_fn(scalar, case)
            numbers, eigenvector = _curvature(jax.random.fold_in(key, 10 + index), function, image, what)
            attacked = _attacked(key, case, scalar, moved, what)
            context = landscape.DirectionContext(function, image, attacked, other)
            lines = _lines(jax.random.fold_in(key, 4), names, context, eigenvector, what)
            line = landscape.slice_1d(
                function, image, lines, own.extent, own.num_points, outside=own.out_of_range,
                chunk_size=what.points_at_once,
            )  # fmt: skip
            found[scalar] = {**numbers, "lines": line.values, "share_outside": line.share_outside}
        if what.with_map and case.map_fn is not None:
            jacobian = landscape.jacobian_norms(
                jax.random.fold_in(key, 5), case.map_fn, image, num_matvecs=own.num_matvecs,
                num_probes=own.num_probes, chunk_size=what.points_at_once,
            )  # fmt: skip
            lipschitz = landscape.local_lipschitz(jax.random.fold_in(key, 6), case.map_fn, image, **what.ball)
            found["map"] = {
                "jacobian_spectral_norm": jacobian.spectral,
                "jacobian_frobenius_norm": jacobian.frobenius,
                "local_lipschitz": lipschitz,
            }
        return found

    return jax.lax.map(
        one,
        (keys, images, others, manipulated, labels),
        batch_size=min(IMAGES_AT_ONCE, own.chunk_size, len(images)),
    )


@functools.partial(jax.jit, static_argnames=("model_fn", "what"))
def planes(
    keys: Key,
    model_fn: ModelFn,
    variables: PyTree,
    images: Array,
    others: Array,
    manipulated: Array,
    labels: Array,
    *,
    what: Measurement,
) -> dict[str, Array]:
    """scalar -> (images, P, P): rows along the attack's path, columns along the first Rademacher direction."""
    own = what.analysis

    def one(inputs: tuple[Key, Array, Array, Array, Array]) -> dict[str, Array]:
        key, image, other, moved, label = inputs
        case = _case(key, model_fn, variables, image, other, label, what)
        found = {}
        for scalar, _ in what.scalars:
            function = landscape.scalar_fn(scalar, case)
            attacked = _attacked(key, case, scalar, moved, what)
            context = landscape.DirectionContext(function, image, attacked, other)
            lines = _lines(jax.random.fold_in(key, 4), ("attack", "rademacher"), context, image, what)[:2]
            found[scalar] = landscape.slice_2d(
                function, image, lines, own.extent, own.plane_points, outside=own.out_of_range,
                chunk_size=what.points_at_once,
            ).values  # fmt: skip
        return found

    return jax.lax.map(
        one,
        (keys, images, others, manipulated, labels),
        batch_size=min(IMAGES_AT_ONCE, own.chunk_size, len(images)),
    )

"""Bad input, kind by kind: every public function times every argument times every fault of its kind.

Each call must end in an `InputError` of one line, never in an error from deep inside JAX, and never in a number. The
table of docs/faults.md says the same in words. A new public function that takes an image, a label, a model, a map or a
budget needs its line in GOOD.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import attack, data, evaluate, explain, landscape
from jsep.checks import InputError

KEY = jax.random.key(0)
SHAPE = (3, 4, 2)
ORACLE = oracles.softplus_ridge()
logits_fn = ORACLE.logits
IMAGE = jnp.asarray(np.random.default_rng(0).uniform(0.2, 0.8, SHAPE), jnp.float32)
OTHER = jnp.asarray(np.random.default_rng(1).uniform(0.2, 0.8, SHAPE), jnp.float32)
LABEL = int(jnp.argmax(logits_fn(IMAGE)))
TARGET = (LABEL + 1) % 3
map_fn = explain.make_map_fn("gradient_x_input", logits_fn, LABEL)
MAP, TARGET_MAP = map_fn(IMAGE), map_fn(OTHER)
IMAGES = np.stack([IMAGE, OTHER])
LABELS = np.asarray(jax.vmap(logits_fn)(IMAGES)).argmax(1)
SCALAR = landscape.explanation_loss_to(map_fn, TARGET_MAP)
DATASET = data.from_arrays(IMAGES, LABELS, num_classes=3)


def model_fn(variables: Any, image: Any) -> Any:
    return logits_fn(image)


EXPLAINED = {"logits_fn": logits_fn, "image": IMAGE, "label": LABEL}
PAIR = {"key": KEY, "map_fn": map_fn, "logits_fn": logits_fn, "image": IMAGE, "target_map": TARGET_MAP}
PAIR_SETTINGS = {"num_steps": 2, "learning_rate": 0.01, "map_weight": 1e4, "output_weight": 1.0}
CURVE = {**EXPLAINED, "map_": MAP, "num_steps": 4}
NEAR = jnp.clip(IMAGE + 0.01 * jnp.asarray(np.random.default_rng(2).normal(size=(3, *SHAPE)), jnp.float32), 0, 1)

GOOD: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    **{
        f"explain.{name}": (getattr(explain, name), {**EXPLAINED, **options})
        for name, options in {
            "gradient": {},
            "gradient_x_input": {},
            "integrated_gradients": {"num_steps": 2, "baseline": 0.0},
            "smooth_grad": {"key": KEY, "num_samples": 2, "sigma": 0.1},
            "smooth_grad_squared": {"key": KEY, "num_samples": 2, "sigma": 0.1},
            "var_grad": {"key": KEY, "num_samples": 2, "sigma": 0.1},
            "guided_backprop": {},
            "deconvnet": {},
            "lrp": {"epsilon": 1e-6, "gamma": 0.25},
            "occlusion": {"window": 2, "stride": 1, "baseline": 0.0},
            "rise": {"key": KEY, "num_samples": 4, "grid": 2},
            "lime": {"key": KEY, "num_samples": 8, "segments": 2, "kernel_width": 0.25, "ridge": 1.0, "baseline": 0.0},
        }.items()
    },
    "attack.fgsm": (attack.fgsm, {"objective": attack.cross_entropy(logits_fn, LABEL), "image": IMAGE, "epsilon": 0.1}),
    "attack.pgd": (
        attack.pgd,
        {"key": KEY, "objective": attack.margin(logits_fn, LABEL), "image": IMAGE, "epsilon": 0.1, "alpha": 0.05,
         "num_steps": 2, "num_starts": 1, "norm": "linf"},
    ),
    "attack.apgd": (
        attack.apgd,
        {"key": KEY, "objective": attack.margin(logits_fn, LABEL), "image": IMAGE, "epsilon": 0.1, "num_steps": 2},
    ),
    "attack.fab": (attack.fab, {**EXPLAINED, "target": TARGET, "num_steps": 2, "stop_within": 0.1, "eta": 1.05}),
    "attack.square": (attack.square, {"key": KEY, **EXPLAINED, "epsilon": 0.1, "num_queries": 3, "p_init": 0.8}),
    "attack.auto_attack": (
        attack.auto_attack,
        {"key": KEY, "logits_fn": logits_fn, "images": IMAGES, "labels": LABELS, "epsilon": 0.05, "chunk_size": 2,
         "version": attack.AutoAttackConfig(("fgsm",))},
    ),
    "attack.attack_explanation": (attack.attack_explanation, {**PAIR, **PAIR_SETTINGS, "epsilon": 0.1}),
    "attack.attack_explanation_black_box": (
        attack.attack_explanation_black_box, {**PAIR, "search": "random_search", "epsilon": 0.1, "num_steps": 2}
    ),
    "attack.auto_explanation_attack": (
        attack.auto_explanation_attack, {**PAIR, "epsilon": 0.1, "version": "fast", "num_steps": 2, "num_queries": 20}
    ),
    "attack.untargeted_explanation_attack": (
        attack.untargeted_explanation_attack,
        {**{k: v for k, v in PAIR.items() if k != "target_map"}, "k": 2, "epsilon": 0.1, "num_steps": 2},
    ),
    **{
        f"evaluate.{name}": (getattr(evaluate, name), {"map_a": MAP, "map_b": TARGET_MAP, **options})
        for name, options in {
            "explanation_loss": {}, "scale_free_loss": {}, "cosine_similarity": {}, "unit_l2_distance": {},
            "pearson": {}, "ssim": {}, "earth_movers_distance": {"num_directions": 3}, "spearman": {}, "kendall": {},
            "top_k_intersection": {"k": 3}, "top_k_near": {"k": 3}, "split_loss": {},
        }.items()
    },
    "evaluate.effective_pixels": (evaluate.effective_pixels, {"map_": MAP}),
    "evaluate.gini": (evaluate.gini, {"map_": MAP}),
    "evaluate.entropy": (evaluate.entropy, {"map_": MAP}),
    "evaluate.deletion_curve": (evaluate.deletion_curve, {**CURVE, "baseline": 0.0}),
    "evaluate.insertion_curve": (evaluate.insertion_curve, {**CURVE, "baseline": 0.0}),
    "evaluate.road_curve": (evaluate.road_curve, {"key": KEY, **CURVE, "sigma": 0.01}),
    "evaluate.neighbours": (evaluate.neighbours, {"key": KEY, "image": IMAGE, "radius": 0.1, "num_samples": 2}),
    "evaluate.max_sensitivity": (evaluate.max_sensitivity, {"map_fn": map_fn, "image": IMAGE, "near": NEAR}),
    "evaluate.accuracies": (
        evaluate.accuracies,
        {"key": KEY, "model_fn": model_fn, "variables": (), "dataset": DATASET, "epsilon": 0.1, "alpha": 0.05,
         "num_steps": 1, "chunk_size": 2},
    ),
    "evaluate.noise_sensitivity": (
        evaluate.noise_sensitivity,
        {"key": KEY, "model_fn": model_fn, "variables": (), "images": IMAGES, "radius": 0.1, "num_samples": 2},
    ),
    "landscape.hvp": (landscape.hvp, {"scalar_fn": SCALAR, "point": IMAGE, "vector": OTHER}),
    "landscape.top_eigenvalues": (
        landscape.top_eigenvalues,
        {"key": KEY, "scalar_fn": SCALAR, "point": IMAGE, "num_eigenvalues": 1, "num_matvecs": 2},
    ),
    "landscape.trace": (landscape.trace, {"key": KEY, "scalar_fn": SCALAR, "point": IMAGE, "num_probes": 2}),
    "landscape.spectrum": (
        landscape.spectrum, {"key": KEY, "scalar_fn": SCALAR, "point": IMAGE, "num_probes": 1, "num_matvecs": 2}
    ),
    "landscape.slice_1d": (
        landscape.slice_1d,
        {"scalar_fn": SCALAR, "point": IMAGE, "directions": OTHER[None], "extent": 1.0, "num_points": 3},
    ),
    "landscape.normalize": (landscape.directions.normalize, {"direction": OTHER, "epsilon": 0.1}),
    "landscape.sharpness": (
        landscape.sharpness,
        {"key": KEY, "scalar_fn": SCALAR, "point": IMAGE, "epsilon": 0.1, "alpha": 0.05, "num_steps": 1,
         "num_samples": 2},
    ),
    "landscape.local_lipschitz": (
        landscape.local_lipschitz,
        {"key": KEY, "map_fn": map_fn, "point": IMAGE, "epsilon": 0.1, "alpha": 0.05, "num_steps": 1},
    ),
}  # fmt: skip
"""name -> (function, arguments of a good call)."""

# Kinds of arguments by name, and the faults of each.

ANY_IMAGE: dict[str, Callable[[Any], Any]] = {
    "NaN": lambda x: x.at[0, 0, 0].set(jnp.nan),
    "infinite": lambda x: x.at[0, 0, 0].set(jnp.inf),
    "uint8": lambda x: (np.asarray(x) * 255).astype(np.uint8),
    "int": lambda x: (np.asarray(x) * 255).astype(int),
    "bool": lambda x: np.asarray(x) > 0.5,
    "complex": lambda x: np.asarray(x) + 0j,
    "string": lambda x: np.full(x.shape, "a"),
    "None": lambda x: None,
    "text": lambda x: "image.png",
}
ONE_IMAGE = {
    "a batch": lambda x: x[None],
    "without channels": lambda x: x[..., 0],
    "empty": lambda x: x[:0],
    "ragged": lambda x: [[1.0], [1.0, 2.0]],
}
BOXED = {
    "of 0 .. 255": lambda x: 255 * x,
    "standardised": lambda x: 4 * (x - 0.5),
    "above 1": lambda x: x.at[0, 0, 0].set(1.01),
}
MAPS = {
    "NaN": lambda x: x.at[0, 0].set(jnp.nan),
    "uint8": lambda x: (np.asarray(x) * 255).astype(np.uint8),
    "bool": lambda x: np.asarray(x) > 0.05,
    "a batch": lambda x: jnp.stack([x, x]),
    "with channels": lambda x: x[..., None],
    "flat": lambda x: x.ravel(),
    "another size": lambda x: x[:2],
    "string": lambda x: "map",
}
LABEL_FAULTS = {
    "negative": lambda x: -1,
    "too large": lambda x: 3,
    "wrapped around": lambda x: np.uint32(2**32 - 1),
    "huge": lambda x: 2**40,
    "bool": lambda x: True,
    "float": lambda x: 1.0,
    "one-hot": lambda x: np.eye(3)[x],
    "one-hot of int": lambda x: np.eye(3, dtype=int)[x],
    "list": lambda x: [x],
    "shape (1,)": lambda x: np.array([x]),
    "string": lambda x: "1",
    "None": lambda x: None,
}
OUTPUTS = {
    "shape (1, K)": lambda f: lambda *a: f(*a)[None],
    "shape (K, 1)": lambda f: lambda *a: f(*a)[:, None],
    "scalar": lambda f: lambda *a: f(*a)[0],
    "one logit": lambda f: lambda *a: f(*a)[:1],
    "tuple": lambda f: lambda *a: (f(*a), f(*a)),
    "dict": lambda f: lambda *a: {"logits": f(*a)},
    "probabilities": lambda f: lambda *a: jax.nn.softmax(f(*a)),
    "classes": lambda f: lambda *a: jnp.argsort(f(*a)),
    "None": lambda f: lambda *a: None,
}
SCALARS = {
    "not reduced": lambda f: lambda x: x,
    "shape (1,)": lambda f: lambda x: f(x)[None],
    "tuple": lambda f: lambda x: (f(x), f(x)),
    "integer": lambda f: lambda x: f(x).astype(int),
}
NUMBERS = {
    "NaN": lambda x: float("nan"),
    "infinite": lambda x: float("inf"),
    "negative": lambda x: -0.1,
    "a negative array": lambda x: jnp.float32(-0.1),
    "True": lambda x: True,
    "string": lambda x: "8/255",
    "vector": lambda x: np.array([0.1, 0.1]),
    "complex": lambda x: 0.1 + 0j,
}
COUNTS = {
    "negative": lambda x: -1,
    "float": lambda x: 2.0,
    "True": lambda x: True,
    "string": lambda x: "2",
    "None": lambda x: None,
    "array": lambda x: np.array([2]),
}

FAULTS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "label": LABEL_FAULTS,
    "target": LABEL_FAULTS,
    "logits_fn": OUTPUTS,
    "model_fn": OUTPUTS,
    "scalar_fn": SCALARS,
    "epsilon": {**NUMBERS, "of 0 .. 255": lambda x: 8},
    "largest_epsilon": {**NUMBERS, "of 0 .. 255": lambda x: 8},
    "map_": MAPS,
    "map_a": MAPS,
    "map_b": MAPS,
    "target_map": MAPS,
    "near": {"one image": lambda x: x[0], "another size": lambda x: x[:, :2], "NaN": lambda x: x * jnp.nan},
    "vector": {"another size": lambda x: x[:2], "flat": lambda x: x.ravel()},
    "norm": {"unknown": lambda x: "l3", "a number": lambda x: 2},
    "baseline": {k: NUMBERS[k] for k in ("NaN", "infinite", "string", "complex")} | {"vector": lambda x: np.zeros(5)},
    "extent": NUMBERS,
    **dict.fromkeys(("alpha", "sigma", "learning_rate", "radius", "map_weight", "output_weight", "p_init", "ridge",
                     "kernel_width", "gamma", "stop_within", "eta"), NUMBERS),
}  # fmt: skip
NOT_IN_BOX = ("explain.", "landscape.hvp", "landscape.top", "landscape.trace", "landscape.spectrum")
"""What explains or differentiates at any point: pixels outside of [0, 1] are fine there."""


def faults_of(name: str, argument: str) -> dict[str, Callable[[Any], Any]]:
    found = dict(kinds_of(name, argument))
    if name == "explain.lrp":
        found.pop("of 0 .. 255", None)  # its epsilon is a stabiliser
    if name in ("evaluate.effective_pixels", "evaluate.gini", "evaluate.entropy"):
        found.pop("another size", None)  # there is no second map
    return found


def kinds_of(name: str, argument: str) -> dict[str, Callable[[Any], Any]]:
    if argument in ("image", "point"):
        boxed = {} if name.startswith(NOT_IN_BOX) else BOXED
        alone = ONE_IMAGE if argument == "image" else {}
        return {**ANY_IMAGE, **alone, **boxed}
    if argument == "images":
        return {k: (lambda x, f=f: np.asarray(f(jnp.asarray(x)))) for k, f in {**ANY_IMAGE, **BOXED}.items()}
    if argument == "labels":
        return {
            "negative": lambda x: x - 5, "too large": lambda x: x + 5, "one-hot": lambda x: np.eye(3)[x],
            "too few": lambda x: x[:1], "float": lambda x: x * 1.0, "bool": lambda x: x > 0,
        }  # fmt: skip
    if argument.startswith("num_") or argument in ("chunk_size", "window", "stride", "grid", "k"):
        return COUNTS
    return FAULTS.get(argument, {})


def cases() -> Iterator[Any]:
    for name, (_, arguments) in GOOD.items():
        for argument in arguments:
            faults = faults_of(name, argument)
            if faults:
                yield pytest.param(name, argument, id=f"{name}-{argument}")


@pytest.mark.parametrize("name", GOOD)
def test_good_call_works(name: str) -> None:
    function, arguments = GOOD[name]
    found = jax.tree.leaves(function(**arguments))
    numbers = [np.asarray(leaf) for leaf in found if hasattr(leaf, "dtype")]
    assert all(np.all(np.isfinite(n)) for n in numbers if np.issubdtype(n.dtype, np.floating) and "info" not in name)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "argument"), list(cases()))
def test_bad_value_is_one_clear_line(name: str, argument: str) -> None:
    function, arguments = GOOD[name]
    wrong = {}
    for fault, change in faults_of(name, argument).items():
        try:
            found = function(**{**arguments, argument: change(arguments[argument])})
        except InputError as error:
            if "\n" in str(error):
                wrong[fault] = str(error)
        except Exception as error:
            wrong[fault] = f"{type(error).__name__}: {str(error)[:100]}"
        else:
            leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(found) if hasattr(leaf, "dtype")]
            wrong[fault] = f"gave {[leaf.ravel()[:3] for leaf in leaves][:2]}"
    assert not wrong, wrong


def test_every_function_of_an_image_is_in_the_table() -> None:
    takes = {"image", "images", "map_a", "map_", "point"}
    named = {function for function, _ in GOOD.values()}
    others = {
        # Their arguments go through the functions above, or the names say what they need of a model.
        "explain.attention_relevance", "explain.attention_rollout", "explain.grad_cam", "explain.score_cam",
        "evaluate.adversarial_insertion", "evaluate.map_diagnostics", "evaluate.explanation_properties",
        "evaluate.relative_stability", "evaluate.randomisation_similarity",
        "attack.project_to_ball_and_box", "landscape.moments", "landscape.curvature", "landscape.jacobian_norms",
        "landscape.slice_2d", "landscape.sep_term", "landscape.explanation_loss_to_own",
    }  # fmt: skip
    missing = []
    for part in (explain, attack, evaluate, landscape):
        for name in part.__all__:
            function = getattr(part, name)
            if inspect.isfunction(function) and takes & set(inspect.signature(function).parameters):
                full = f"{part.__name__.removeprefix('jsep.')}.{name}"
                if function not in named and full not in others:
                    missing.append(full)
    assert missing == []

"""Bad calls made from signatures: every public function, each of its arguments, every kind of bad value of its type.

A public function is covered as soon as it is exported. An argument whose name is not in VALUES, and has no default,
needs a good value there.
"""

import contextlib
import dataclasses
import functools
import inspect
import io
import math
import pathlib
import re
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from test_faults import (
    DATASET,
    IMAGE,
    IMAGES,
    KEY,
    LABEL,
    LABELS,
    MAP,
    NEAR,
    OTHER,
    SCALAR,
    SHAPE,
    TARGET,
    TARGET_MAP,
    logits_fn,
    map_fn,
    model_fn,
)  # fmt: skip

from jsep import attack, data, evaluate, explain, landscape, models, stats, train
from jsep.attack.losses import PredictionObjective
from jsep.checks import InputError

PARTS = (explain, attack, evaluate, landscape, stats, models, data, train)
RNG = np.random.default_rng(5)
MANY = data.from_arrays(RNG.uniform(size=(12, *SHAPE)).astype(np.float32), np.arange(12) % 3, num_classes=3)
POINTS = RNG.normal(size=(12, 4)).astype(np.float32)
PAIRS = evaluate.select_pairs(POINTS, MANY, num_clusters=3, num_pairs=6, feature_network="points")
NET = models.ConvNet(num_classes=3, widths=(4, 6))
WEIGHTS = models.init(KEY, NET, SHAPE)
TARGETED = attack.TargetedConfig(2, 0.01, 1e4, 1.0)
ATTACKED = evaluate.ExplanationAttackConfig(epsilon=0.1, settings=TARGETED)
ROWS = tuple(
    {"method": "mat", "seed": i, "robust_accuracy": x, "explanation_loss_end": y, "clean_accuracy": z,
     "effective_pixels": x * y, "degraded": False}
    for i, (x, y, z) in enumerate(RNG.uniform(size=(8, 3)).tolist())
)  # fmt: skip
PGD = train.PgdConfig("linf", 0.1, 0.05, 1)
TRAINING = train.TrainConfig(epochs=1, batch_size=4, attack=PGD)
CONTEXT = landscape.ScalarContext(
    logits_fn=logits_fn, image=IMAGE, label=jnp.int32(LABEL), map_fn=map_fn, target_map=TARGET_MAP, noise=OTHER - IMAGE
) if "noise" in inspect.signature(landscape.ScalarContext).parameters else None  # fmt: skip

VALUES: dict[str, Any] = {
    "key": KEY, "image": IMAGE, "images": IMAGES, "label": LABEL, "labels": LABELS, "logits_fn": logits_fn,
    "model_fn": model_fn, "features_fn": lambda *a: logits_fn(a[-1]), "map_fn": map_fn, "scalar_fn": SCALAR,
    "objective": attack.cross_entropy(logits_fn, LABEL), "target_map": TARGET_MAP, "target": TARGET, "epsilon": 0.1,
    "alpha": 0.05, "variables": (), "dataset": DATASET, "map_": MAP, "map_a": MAP, "map_b": TARGET_MAP, "point": IMAGE,
    "vector": OTHER, "near": NEAR, "manipulated_map": TARGET_MAP, "norm": "linf", "perturbed": OTHER, "noise": OTHER,
    "direction": OTHER, "x": IMAGE,
    "num_steps": 2, "num_samples": 2, "num_queries": 3, "num_points": 3, "num_matvecs": 2, "num_probes": 2,
    "num_eigenvalues": 1, "spectrum_probes": 1, "num_clusters": 3, "num_pairs": 6, "num_snapshots": 2, "num_images": 2,
    "num_seeds": 3, "num_classes": 3, "num_pixels": 12, "num_directions": 3, "num_resamples": 10, "num_batches": 1,
    "batch_size": 2, "chunk_size": 2, "window": 2, "stride": 1, "grid": 2, "segments": 2, "k": 2, "extent": 1.0,
    "directions": OTHER[None], "radius": 0.1, "sigma": 0.1, "selection": "kmeans", "feature_network": "points",
    "points": POINTS, "classes": np.arange(12) % 3, "maps": np.stack([MAP, TARGET_MAP, MAP + 0.01]),
    "victim_maps": np.stack([MAP]), "target_maps": np.stack([TARGET_MAP]), "manipulated_maps": np.stack([MAP + 0.01]),
    "manipulated": np.stack([OTHER, IMAGE]), "pairs": PAIRS, "chosen": (0,), "steps": (0, 1), "curve": jnp.ones(4),
    "first": jnp.asarray(RNG.uniform(size=(3, 6))), "second": jnp.asarray(RNG.uniform(size=(3, 6))),
    "loss_start": jnp.float32(0.2), "loss_end": jnp.float32(0.1), "curves": RNG.uniform(size=(3, 5)),
    "values": (0.1, 0.4, 0.2), "p_values": (0.01, 0.2, 0.5), "y": RNG.uniform(size=8),
    "table": RNG.uniform(size=(3, 5)), "rows": ROWS, "given": RNG.uniform(size=8), "model": NET, "input_shape": SHAPE,
    "activation": "relu", "split": "test", "splits": {"train": MANY, "validation": MANY, "test": MANY},
    "interval": stats.t_interval([0.1, 0.4, 0.2]), "config": ATTACKED, "draws": None, "sep_weight": 1.0,
    "ratio": 1.0,
    "step": jnp.int32(3), "stored": PAIRS.as_dict(),
    "randomised": WEIGHTS, "batch_fn": models.batch_fn(NET), "image_shape": SHAPE, "shape": SHAPE, "method": "gradient",
    "version": "fast", "settings": TARGETED, "source": {"a": np.ones(2)}, "is_randomised": lambda name: True,
    "make_map_fn": lambda variables: map_fn, "num_neighbours": 2, "measure": None, "context": CONTEXT, "metric": None,
}  # fmt: skip
"""Name of an argument -> a good value of it."""

OWN: dict[str, dict[str, Any]] = {
    "attack.auto_attack": {"version": attack.AutoAttackConfig(("fgsm",))},
    "attack.auto_explanation_attack": {"num_queries": 20},
    "attack.attack_explanation": {"config": TARGETED},
    "attack.untargeted_explanation_attack": {"objective": "top_k"},
    "attack.project_to_ball_and_box": {"norm": attack.norm_by_name("linf")},
    "attack.check_attack_settings": {"name": "targeted"},
    "attack.targeted_dlr": {"logits_fn": lambda x: jnp.append(logits_fn(x), -1.0)},
    "explain.explanation_map": {"saliency": OTHER}, "explain.score_cam": {"split": None},
    "explain.grad_cam": {"split": None}, "stats.crossed_mean": {"images": None},
    "train.RegulariserConfig": {"name": "lga"},
    "models.load_pretrained": {"name": "mnist_convnet_mat"}, "data.examples": {"name": "mnist"},
    "attack.explanation_attack": {"name": "targeted"},
    "attack.norm_by_name": {"name": "linf"},
    "evaluate.auto_attack_accuracy": {"version": attack.AutoAttackConfig(("fgsm",))},
    "evaluate.attack_trajectory": {"dataset": MANY},
    "evaluate.explanation_robustness": {"dataset": MANY},
    "evaluate.select_pairs": {"dataset": MANY},
    "evaluate.make_groups": {"selection": "kmeans"},
    "evaluate.batch_statistics_accuracy": {"variables": WEIGHTS, "dataset": MANY},
    "evaluate.permute_weights": {"variables": WEIGHTS},
    "evaluate.randomisation_similarity": {"variables": WEIGHTS},
    "evaluate.cluster_explanation_loss": {"labels": np.array([0, 0, 1])},
    "evaluate.adjusted_rand_index": {"labels": np.arange(12) % 2},
    "evaluate.ssim": {"filter_size": 3},
    "evaluate.explanation_properties": {"config": evaluate.PropertiesConfig(0.02, 2, 2, 2)},
    "evaluate.road_curve": {"sigma": 0.01},
    "explain.rise": {"num_samples": 4}, "explain.lime": {"num_samples": 8},
    "explain.make_map_fn": {"name": "gradient"}, "explain.method": {"name": "gradient"},
    "explain.check_differentiable": {"name": "gradient"}, "explain.option_kinds": {"name": "smooth_grad"},
    "explain.check_options": {"name": "smooth_grad", "options": (("sigma", 0.1),)},
    "landscape.slice_2d": {"directions": jnp.stack([OTHER, OTHER[::-1]])},
    "landscape.spectral_density": {
        "measure": landscape.spectrum(KEY, SCALAR, IMAGE, num_probes=1, num_matvecs=2), "grid": jnp.linspace(-1, 1, 5)
    },
    "landscape.direction": {"name": "rademacher"},
    "landscape.scalar_fn": {"name": "cross_entropy"},
    "stats.correlation": {"x": RNG.uniform(size=8)}, "stats.partial_correlation": {"x": RNG.uniform(size=8)},
    "models.wrap": {"model": model_fn, "input_shape": SHAPE},
    "models.create": {"name": "convnet"}, "models.logits_fn": {"variables": WEIGHTS},
    "data.check_name": {"name": "digits"}, "data.load": {"name": "digits"},
    "train.objective": {"name": "mat"}, "train.adversarial_images": {"config": PGD},
    "train.batch_penalty": {"config": train.SepConfig("gradient")},
    "train.batch_regulariser": {"config": train.RegulariserConfig("lga")},
    "train.draw_noise": {"config": train.SepConfig("gradient")},
    "train.describe": {"config": TRAINING}, "train.init_state": {"config": TRAINING, "num_images": 12},
}  # fmt: skip
"""Function -> the good values of its arguments that differ from VALUES; an argument of a default is given if it is here
or in VALUES."""

NOT_CALLED = {
    "explain.explanation_method": "a decorator for new methods",
    "evaluate.register": "changes the registry of metrics",
    "evaluate.load_pairs": "reads a file: tests/evaluate/test_pairs.py", "evaluate.save_pairs": "writes a file",
    "models.load_weights": "reads a file: tests/models/test_weights.py", "models.save_weights": "writes a file",
    "models.import_torch": "reads a file: tests/oracle/test_torch_weights.py", "data.save_npz": "writes a file",
    "data.read_images": "reads files: tests/data/test_image_files.py",
    "evaluate.describe_pairs": "takes what explanation_robustness returns",
    "evaluate.pair_sampling_variability": "takes rows of a study: tests/evaluate/test_pair_sampling.py",
    "attack.warnings_in_words": "takes what an attack returns",
    "landscape.direction": "takes a context of the landscape study", "landscape.scalar_fn": "likewise",
    "models.from_module": "takes modules: tests/train/test_functional.py",
    "train.fit": "trains: tests/train", "train.make_run_steps": "makes a program", "train.step_program": "likewise",
    "train.step_memory": "takes a compiled program", "evaluate.classification_program": "makes a program",
    "evaluate.explanation_program": "likewise",
    "train.sep_weight_for_ratio": "trains: tests/train",
}  # fmt: skip


class Call(NamedTuple):
    """One bad call."""

    function: str
    argument: str
    fault: str
    make: Callable[[], Any]

    @property
    def name(self) -> str:
        """Such as "explain.gradient-label-None"."""
        return f"{self.function}-{self.argument}-{self.fault}"


def functions() -> dict[str, Callable[..., Any]]:
    """Every exported function, and every configuration."""
    found = {}
    for part in PARTS:
        short = part.__name__.removeprefix("jsep.")
        for name in part.__all__:
            value = getattr(part, name)
            is_config = inspect.isclass(value) and dataclasses.is_dataclass(value) and name.endswith("Config")
            if inspect.isfunction(value) or is_config:
                found[f"{short}.{name}"] = value
    return {name: value for name, value in found.items() if name not in NOT_CALLED}


def good_arguments(name: str, function: Callable[..., Any]) -> tuple[dict[str, Any], list[str]]:
    """The arguments of a good call, and the names of those that have no value."""
    own, given, missing = OWN.get(name, {}), {}, []
    is_config = inspect.isclass(function)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.name in own:
            given[parameter.name] = own[parameter.name]
        elif parameter.default is not parameter.empty and (is_config or parameter.name not in VALUES):
            given[parameter.name] = parameter.default
        elif VALUES.get(parameter.name) is not None:
            given[parameter.name] = VALUES[parameter.name]
        elif parameter.default is parameter.empty:
            missing.append(parameter.name)
    if name == "attack.attack_explanation":
        given |= {"epsilon": 0.1}
    return given, missing


def faults_of(value: Any) -> dict[str, Any]:
    """The bad values in place of a good one, by its type."""
    text, nothing = {"text": "abc"}, {"None": None}
    if isinstance(value, bool):
        return {**text, "number": 2, "list": [True, False], "dict": {}}
    if isinstance(value, int):
        return {**text, **nothing, "NaN": math.nan, "infinite": math.inf, "negative": -1, "True": True, "fraction": 2.5,
                "text of a number": "2", "list": [2], "dict": {}, "huge": 2**40, "array": np.array([2]),
                "complex": 2 + 0j, "empty array": np.zeros(0)}  # fmt: skip
    if isinstance(value, float):
        return {**text, **nothing, "NaN": math.nan, "infinite": math.inf, "negative": -0.5, "True": True,
                "text of a number": "0.1", "list": [0.1], "dict": {}, "huge": 1e300, "array": np.array([0.1, 0.1]),
                "complex": 0.1 + 0j, "empty array": np.zeros(0), "NaN array": np.float32(np.nan)}  # fmt: skip
    if isinstance(value, str):
        return {**nothing, "unknown": "unknown", "empty": "", "number": 3, "list": ["a"], "bytes": b"linf", "dict": {}}
    if isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        return {**text, **nothing, "seed": 0, "fraction": 0.5, "batch of keys": jax.random.split(KEY, 2), "dict": {},
                "image": IMAGE}  # fmt: skip
    if isinstance(value, np.ndarray | jax.Array):
        return _faults_of_array(value)
    if callable(value) and not dataclasses.is_dataclass(value):
        return {**text, **nothing, "number": 3, "gives None": lambda *a, **k: None, "gives text": lambda *a, **k: "a",
                "gives NaN": lambda *a, **k: jax.tree.map(lambda x: x * jnp.nan, value(*a, **k)),
                "gives a tuple": lambda *a, **k: (value(*a, **k),) * 2,
                "gives a batch": lambda *a, **k: jax.tree.map(lambda x: x[None], value(*a, **k)),
                "gives integers": lambda *a, **k: jax.tree.map(lambda x: x.astype(int), value(*a, **k)),
                "takes nothing": lambda: 0.0}  # fmt: skip
    if isinstance(value, tuple | list):
        return {"text": "abc", "None": None, "number": 3.5, "list of None": [None], "of text": ("a", "b"),
                "dict": {"a": 1},
                "empty": (), "NaN": (math.nan,) * max(len(value), 1)}  # fmt: skip
    if value is None:
        return {"text": "abc", "dict": {"a": 1}, "object": object(), "NaN": math.nan, "negative": -1}
    return {**text, **nothing, "number": 3, "dict": {}, "list": [1]}


def _faults_of_array(value: Any) -> dict[str, Any]:
    array = np.asarray(value)
    found = {
        "text": "abc", "None": None, "dict": {"a": 1}, "of text": np.full(array.shape, "a"), "empty": array[..., :0] if
        array.ndim else np.zeros(0), "batch": array[None], "complex": array + 0j, "of None": [None, None],
        "ragged": [[1.0], [1.0, 2.0]], "object": object(),
    }  # fmt: skip
    if array.ndim:
        found |= {"first alone": array[0], "scalar": array.ravel()[0], "longer": np.concatenate([array, array])}
    if np.issubdtype(array.dtype, np.floating):
        damaged = array.copy()
        damaged.flat[0] = np.nan
        infinite = array.copy()
        infinite.flat[0] = np.inf
        found |= {"NaN": damaged, "infinite": infinite, "all NaN": array * np.nan, "bool": array > array.mean(),
                  "uint8": (255 * np.clip(array, 0, 1)).astype(np.uint8), "huge": array * np.float32(1e30)}  # fmt: skip
    else:
        found |= {"negative": -1 - array, "too large": array + 1000, "NaN": array * np.nan, "float": array * 1.0,
                  "bool": array > 0}  # fmt: skip
    return found


def calls() -> Iterator[Call]:
    """Every bad call."""
    for name, function in functions().items():
        given, _ = good_arguments(name, function)
        for argument, value in given.items():
            for fault, bad in faults_of(value).items():
                yield Call(name, argument, fault, lambda f=function, g={**given, argument: bad}: f(**g))


class Slow(BaseException):
    """A call that did not end in its time."""


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Slow

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _takes_an_image(function: Callable[..., Any]) -> bool:
    parameters = [each for each in inspect.signature(function).parameters.values() if each.default is each.empty]
    return len(parameters) == 1 and parameters[0].kind not in (inspect.Parameter.VAR_KEYWORD,)


def numbers_of(found: Any, depth: int = 0) -> list[np.ndarray]:
    """The numbers in the result of a call; a function that it returned is called once."""
    if depth > 5 or isinstance(found, str | bytes | pathlib.Path):
        return []
    if isinstance(found, bool | int | float | np.ndarray | np.generic | jax.Array):
        if isinstance(found, jax.Array) and jax.dtypes.issubdtype(found.dtype, jax.dtypes.prng_key):
            return []
        array = np.asarray(found)
        return [array] if array.dtype.kind in "biufc" else []
    if isinstance(found, Mapping):
        return [each for value in found.values() for each in numbers_of(value, depth + 1)]
    if isinstance(found, tuple | list):
        return [each for value in found for each in numbers_of(value, depth + 1)]
    if (inspect.isfunction(found) and _takes_an_image(found)) or isinstance(found, PredictionObjective):
        return numbers_of(found(IMAGE), depth + 1)
    if dataclasses.is_dataclass(found) and not isinstance(found, type | data.Dataset | models.Classifier):
        return numbers_of([getattr(found, field.name) for field in dataclasses.fields(found)], depth + 1)
    return []


def outcome_of(make: Callable[[], Any], good: Callable[[], list[np.ndarray]], seconds: int = 30) -> tuple[str, str]:
    """What a call ends in, and its text: "clear" (an InputError of one line), "deep" (another error), "slow", "same"
    (the numbers of the good call), "non-finite" or "finite". good: () -> the numbers of the good call."""
    try:
        with at_most(seconds), warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            found = numbers_of(make())
    except InputError as error:
        return ("clear" if "\n" not in str(error) else "deep"), str(error)
    except Slow:
        return "slow", ""
    except Exception as error:
        return "deep", f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    if _are_equal(found, good()):
        return "same", ""
    shown = str([array.ravel()[:3].tolist() for array in found[:3]])
    is_finite = all(np.isfinite(array).all() for array in found if array.dtype.kind in "fc")
    return ("finite" if is_finite else "non-finite"), shown


def _are_equal(found: list[np.ndarray], good: list[np.ndarray]) -> bool:
    return len(found) == len(good) and all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-3, atol=1e-6, equal_nan=True)
        for a, b in zip(found, good, strict=True)
    )


@functools.cache
def good_numbers(name: str) -> list[np.ndarray]:
    """The numbers of a function's good call."""
    function = functions()[name]
    return numbers_of(function(**good_arguments(name, function)[0]))


_FIRST_AXIS = "directions|near|table|curves|values|images|points|first|second|curve|maps|rows|steps|epsilons"
VALID = (
    (r"explain\.(?!.*map).*-(image|x)-huge|explain\.explanation_map-saliency-huge", "defined anywhere"),
    (r"evaluate\..*-(map_[ab]?|near|loss_start|loss_end|maps)-huge", "a formula that holds at this scale"),
    (r".*-baseline-(negative|array|list)", "a baseline is any number, or broadcasts to the image"),
    (r"evaluate\.relative_reduction-.*-uint8", "numbers"),
    (rf".*-({_FIRST_AXIS})-longer", "a batch"),
    (r"stats\.band-curves-(first alone|scalar|huge)|evaluate\.area_under_curve-.*|stats\..*-(uint8|bool)", "numbers"),
    (r"landscape\.\w+-(direction|directions|grid)-(uint8|bool|huge|empty|batch)", "numbers"),
    (r"evaluate\.(make_groups|select_pairs)-points-(uint8|bool|huge)", "features are any numbers"),
    (r".*-(alpha|cure_step|learning_rate|noise_scale|map_weight|output_weight)-huge", "bounded where it is used"),
    (r".*-key-(batch of keys|seed|image)", "a raw key"),
    (r"landscape\.\w+-point-huge", "a Hessian is defined anywhere"),
    (r"attack\.attack_explanation-config-None|train\.draw_noise-shape-empty", "a default"),
    (r"evaluate\.explanation_properties-config-None", "a default"),
    (r"train\.TrainConfig-sep_weight-negative", "sharpens"),
    (r"attack\.project_to_ball_and_box-perturbed-infinite", "projected as any point"),
    (r"stats\.band-curves-NaN", "NaN values are ignored, as its documentation says"),
    (r"landscape\.spectral_density-grid-longer", "points of evaluation"),
    (r"landscape\.normalize-direction-longer", "a direction of any size"),
    (r"landscape\.hvp-vector-huge|evaluate\.(effective_pixels|gini|entropy)-map_-longer", "another input"),
    (r"landscape\.hvp-vector-(bool|uint8)", "a direction of whole numbers"),
    (r"evaluate\.relative_reduction-.*-batch", "one number for each"),
    (r"stats\..*-table-huge", "a formula that holds at this scale"),
    (r"evaluate\.rank_correlation-\w+-bool", "numbers with ties"),
    (r"train\.scale_free_weight-sep_weight-negative", "the weight of SEP_neg"),
    (r"landscape\.normalize-direction-(first alone|scalar)", "a direction of any shape"),
    (r"explain\.explanation_map-saliency-longer", "a larger map"),
    (r"attack\.untargeted_explanation_attack-alpha-None", "a default"),
    (r"train\.adversarial_images-model_fn-gives NaN", "the clean images: an attack keeps the last finite ones"),
    (r"explain\.absolute-x-.*", "any numbers"),
)
"""Bad values that are good after all, and why."""


def is_valid(name: str) -> bool:
    """Whether a call of this name may give a finite number of its own."""
    return any(re.fullmatch(pattern, name) for pattern, _ in VALID)


def judged(sample: Sequence[Call]) -> tuple[Counter[str], list[str]]:
    """How many calls ended in which outcome, and a line on each that should not have ended so.

    "said": NaN or infinity where they were given, or came from the model.
    """
    counts: Counter[str] = Counter()
    wrong = []
    for call in sample:
        outcome, text = outcome_of(call.make, functools.partial(good_numbers, call.function))
        if outcome in ("finite", "non-finite") and (is_valid(call.name) or not re.search(r"\d", text)):
            outcome = "valid"
        if outcome == "non-finite" and call.fault in ("NaN", "infinite", "all NaN", "NaN array", "gives NaN", "huge"):
            outcome = "said"
        counts[outcome] += 1
        if outcome in ("deep", "slow", "finite", "non-finite"):
            wrong.append(f"{call.name}: {outcome} {text}")
    return counts, wrong

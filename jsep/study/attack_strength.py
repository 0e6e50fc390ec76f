"""How robust the trained models of a study are to ensembles of attacks, and whether independent implementations of the
same attacks agree image by image."""

import dataclasses
import functools
import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep import attack
from jsep.checks import InputError, check_choice
from jsep.study.configuration import Configuration, count, group, random_seed, setting
from jsep.study.groups import BudgetConfig
from jsep.study.progress import OnProgress
from jsep.study.runner import Run, StudyKind
from jsep.study.setup import load_split
from jsep.study.trained import TrainedModel, TrainedStudy, load_trained
from jsep.study.work import Task, Work, data_sizes, finished_config, model_costs
from jsep.types import PyTree

PeerAttack = Callable[[str, np.ndarray, np.ndarray], np.ndarray]
"""(attack or "ensemble", images (B, H, W, C), labels (B,)) -> adversarial images (B, H, W, C)."""

LIBRARY, ENSEMBLE = "jsep", "ensemble"
_VALUES = "values.npz"


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another implementation: its attacks, and how to make its PeerAttack from the study and a model's variables."""

    attacks: tuple[str, ...]
    make: Callable[["AttackStrengthConfig", TrainedStudy, PyTree], PeerAttack]


PEERS: dict[str, Peer] = {}
"""name -> Peer: empty in the library; a script registers the peers it compares before it makes the configuration."""


@dataclasses.dataclass(frozen=True)
class AttackStrengthConfig(Configuration):
    """Attacks on the models of a finished study. The help text of each field is its documentation."""

    models: str = setting("runs/cifar10_models", "run directory of the study whose models are attacked")
    data_dir: str | None = setting(None, "TFDS data directory; default: where the study found it")
    methods: tuple[str, ...] = setting(("standard", "mat"), "training methods of the study whose models are attacked")
    num_images: int = count(500, "number of test images, stratified by class; 0: all", minimum=0)
    budget: BudgetConfig = group(BudgetConfig)
    single_attacks: tuple[str, ...] = setting(
        ("pgd", "apgd-ce"), "attacks, each on all images", choices=attack.PREDICTION_ATTACKS
    )
    ensemble_attacks: tuple[str, ...] = setting(
        attack.AUTO_ATTACK_VERSIONS["standard"].attacks,
        "attacks of the ensemble, each on the images still unbroken",
        choices=attack.PREDICTION_ATTACKS,
    )
    num_steps: int = count(100, "steps of APGD and FAB")
    num_targets: int = count(9, "target classes of targeted attacks")
    num_queries: int = count(5000, "queries of Square")
    pgd_steps: int = count(20, "steps of PGD, each a quarter of the budget long")
    timed_images: int = count(
        50, "images that withstood APGD on which it is timed, the same work for everyone", minimum=0
    )
    peers: tuple[str, ...] = setting((), "other implementations that attack the same weights and images", choices=PEERS)
    seed: int = random_seed(0, "seed of the random starts and searches")
    chunk_size: int = count(50, "images in memory at once")

    def check(self) -> None:
        """Raises: InputError for an invalid budget or ensemble."""
        self.budget.check()
        self.version()

    def version(self, *attacks: str) -> attack.AutoAttackConfig:
        """The settings of AutoAttack with `attacks`; default: those of the ensemble."""
        return attack.AutoAttackConfig(
            attacks=attacks or self.ensemble_attacks,
            num_steps=self.num_steps,
            num_targets=self.num_targets,
            num_queries=self.num_queries,
            pgd_steps=self.pgd_steps,
        )


class _Prepared(NamedTuple):
    study: TrainedStudy
    images: np.ndarray
    labels: np.ndarray


def _prepare(config: AttackStrengthConfig) -> _Prepared:
    study = load_trained(config.models, data_dir=config.data_dir)
    for method in config.methods:
        check_choice("method of the study", method, study.config.methods)
    for name in config.peers:  # raises for one that is not installed
        PEERS[name].make(config, study, study.trained[0].variables)
    test = load_split(study.config.data.dataset, study.config.data.data_dir, "test", config.num_images)
    return _Prepared(study, test.as_float(), np.asarray(test.labels))


def measure(config: AttackStrengthConfig, prepared: _Prepared, run: Run) -> None:
    """Adds a row per model, attack and implementation. The library's model judges the images of every implementation:
    an image is robust if its clean version and the valid adversarial image returned are both classified correctly.

    values.npz stores which images are robust to the library's attacks.
    """
    study = prepared.study
    run.result["num_images"] = len(prepared.images)
    run.result.setdefault("timings", [])
    models = [model for model in study.trained if model.method in config.methods]
    units = [
        (model, what, by)
        for model in models
        for what in (*config.single_attacks, ENSEMBLE)
        for by in (LIBRARY, *(name for name in config.peers if what in PEERS[name].attacks))
    ]
    title = "{0[1]} on {0[0].name} by {0[2]}".format
    for model, what, by in run.missing(units, "attack", title, arrays=(_VALUES,)):
        name = f"{model.name}/{what}"
        if by == LIBRARY:
            row, robust = _by_library(config, prepared, model, what, run.progress)
            run.directory.add_arrays(_VALUES, {name: robust})
        else:
            robust = run.directory.read_arrays(_VALUES)[name]
            peer = PEERS[by].make(config, study, model.variables)
            row = _by_peer(config, prepared, model, what, peer, robust)
        run.rows.append({"model": model.name, "attack": what, "by": by, **row})
        run.save()
    withstood = run.directory.read_arrays(_VALUES)
    left = {
        model.name: np.flatnonzero(withstood[f"{model.name}/{ENSEMBLE}"])[: config.timed_images] for model in models
    }
    timed = [model for model in models if len(left[model.name])]
    for model in run.missing(timed, "model", lambda model: f"timing APGD on {model.name}", into="timings"):
        rows = left[model.name]
        timing = _timing(config, study, model, prepared.images[rows], prepared.labels[rows])
        run.result["timings"].append({"model": model.name, "num_images": len(rows), **timing})
        run.save()


def _attacked(
    config: AttackStrengthConfig, trained: TrainedStudy, model: TrainedModel, version: attack.AutoAttackConfig,
    *data: np.ndarray,
    on_progress: Callable[[str, dict[str, float]], None] | None = None,
) -> tuple[np.ndarray, attack.AutoAttackInfo, float]:  # fmt: skip
    started = time.perf_counter()
    adversarial, info = attack.auto_attack(
        jax.random.key(config.seed), functools.partial(trained.model_fn, model.variables), *data,
        norm=config.budget.norm, epsilon=config.budget.epsilon, version=version, chunk_size=config.chunk_size,
        on_progress=on_progress,
    )  # fmt: skip
    return adversarial, info, time.perf_counter() - started


def _by_library(
    config: AttackStrengthConfig, prepared: _Prepared, model: TrainedModel, what: str, progress: OnProgress
) -> tuple[dict[str, Any], np.ndarray]:
    """A row of result.json, and which images are robust, (B,) bool."""
    study, *images_and_labels = prepared
    version = config.version() if what == ENSEMBLE else config.version(what)

    def on_progress(name: str, record: dict[str, float]) -> None:
        progress(f"{name} on {model.name}: {100 * record['robust_accuracy']:.1f} % left", {})

    _, info, seconds = _attacked(config, study, model, version, *images_and_labels, on_progress=on_progress)
    row: dict[str, Any] = {
        "clean_accuracy": float(info.clean_correct.mean()),
        "robust_accuracy": float(info.robust.mean()),
        "seconds": round(seconds, 1),
    }
    if what == ENSEMBLE:
        row["accuracy_after"] = info.robust_accuracy
        row["checks"] = [dataclasses.asdict(check) for check in info.checks]
    return row, info.robust


def _by_peer(
    config: AttackStrengthConfig, prepared: _Prepared, model: TrainedModel, what: str, peer: PeerAttack,
    robust: np.ndarray,
) -> dict[str, Any]:  # fmt: skip
    """A row of result.json, with the share of the images whose robustness is judged alike by peer and library."""
    trained, images, labels = prepared
    started = time.perf_counter()
    found = peer(what, images, labels)
    seconds = time.perf_counter() - started
    if found.shape != images.shape:
        raise InputError(f"a peer returned images of shape {found.shape}, expected {images.shape}")
    change = (found.astype(np.float64) - images).reshape(len(images), -1)
    size = np.abs(change).max(1) if config.budget.norm == "linf" else np.linalg.norm(change, axis=1)
    valid = (
        (size <= config.budget.epsilon * (1 + 1e-5) + 1e-6) & (found.min((1, 2, 3)) >= 0) & (found.max((1, 2, 3)) <= 1)
    )
    classify = functools.partial(_predictions, trained, model.variables, config.chunk_size)
    withstood = (classify(images) == labels) & ~(valid & (classify(found) != labels))
    return {
        "robust_accuracy": float(withstood.mean()),
        "agreement": float(np.mean(withstood == robust)),
        "valid": float(valid.mean()),
        "seconds": round(seconds, 1),
    }


def _predictions(trained: TrainedStudy, variables: PyTree, chunk_size: int, images: np.ndarray) -> np.ndarray:
    predict = jax.jit(
        lambda variables, images: jax.lax.map(
            lambda image: jnp.argmax(trained.model_fn(variables, image)), images, batch_size=chunk_size
        )
    )
    return np.asarray(predict(variables, images))


def _timing(
    config: AttackStrengthConfig, trained: TrainedStudy, model: TrainedModel, images: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    """Seconds of compiled APGD on the cross-entropy over robust images, so that no image ends early."""
    version = config.version("apgd-ce")
    _attacked(config, trained, model, version, images, labels)
    timing = {LIBRARY: round(_attacked(config, trained, model, version, images, labels)[2], 2)}
    for name in config.peers:
        if "apgd-ce" in PEERS[name].attacks:
            peer = PEERS[name].make(config, trained, model.variables)
            started = time.perf_counter()
            peer("apgd-ce", images, labels)
            timing[name] = round(time.perf_counter() - started, 2)
    return {"attack": "apgd-ce", "num_steps": config.num_steps, "seconds": timing}


def _work(config: AttackStrengthConfig, done: Collection[tuple[str, int]]) -> Work:
    study = finished_config(config.models)
    images = data_sizes(study)
    costs = model_costs(study, images)
    gradients = {
        "pgd": config.pgd_steps, "apgd-t": config.num_targets * config.num_steps, "square": config.num_queries / 3,
        "fab-t": 2 * config.num_targets * config.num_steps,
    }  # fmt: skip
    num_images = config.num_images or images.test
    tasks = []
    for name in (*config.single_attacks, *config.ensemble_attacks):
        per_image = gradients.get(name, config.num_steps) * costs.input_gradient
        where = "alone" if name in config.single_attacks else "in the ensemble, at most"
        what = f"{name} {where} on {num_images} images of {', '.join(config.methods)}"
        tasks.append(Task(what, len(config.methods) * study.num_seeds * num_images * per_image))
    if config.peers:
        tasks.append(Task(f"the same by {', '.join(config.peers)}: not in the estimate", 0.0))
    return Work(tasks, study)


ATTACK_STRENGTH = StudyKind("attack_strength", AttackStrengthConfig, _prepare, measure, work=_work)
"""Attacks on the predictions of trained models, beside other implementations."""

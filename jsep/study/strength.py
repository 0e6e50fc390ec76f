"""How robust the trained models of a study are to ensembles of attacks, and whether independent implementations of the
same attacks agree image by image."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep import attack, record
from jsep.checks import InputError, check_choice, check_count, check_epsilon
from jsep.study import environment
from jsep.study.flat_config import FlatConfig, setting
from jsep.study.run import OnProgress
from jsep.study.run_directory import RunDirectory
from jsep.study.splits import load_split
from jsep.study.trained import TrainedModel, TrainedStudy, load_trained
from jsep.types import PyTree

PeerAttack = Callable[[str, np.ndarray, np.ndarray], np.ndarray]
"""(attack or "ensemble", images (B, H, W, C), labels (B,)) -> adversarial images (B, H, W, C)."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another implementation: the attacks it has, and how to make its PeerAttack from the study and the variables."""

    attacks: tuple[str, ...]
    make: Callable[["StrengthConfig", TrainedStudy, PyTree], PeerAttack]


@dataclasses.dataclass(frozen=True)
class StrengthConfig(FlatConfig):
    """Attacks on the models of a finished study. The help text of each field is its documentation."""

    models: str = setting("runs/cifar10_models", "run directory of the study whose models are attacked")
    data_dir: str | None = setting(None, "TFDS data directory; default: where the study found it")
    methods: tuple[str, ...] = setting(("standard", "mat"), "training methods of the study whose models are attacked")
    num_images: int = setting(500, "number of test images, stratified by class; 0: all")
    norm: str = setting("linf", f"norm of the budget: {', '.join(attack.NORMS)}")
    epsilon: float = setting(8 / 255, "budget, pixel units; 8/255 may be written so")
    alone: tuple[str, ...] = setting(
        ("pgd", "apgd-ce"), f"attacks run alone on all images: {', '.join(attack.PREDICTION_ATTACKS)}"
    )
    ensemble: tuple[str, ...] = setting(
        attack.AUTO_ATTACK_VERSIONS["standard"].attacks, "attacks of the ensemble, each on the images still unbroken"
    )
    num_steps: int = setting(100, "steps of APGD and FAB")
    num_targets: int = setting(9, "target classes of targeted attacks")
    num_queries: int = setting(5000, "queries of Square")
    pgd_steps: int = setting(20, "steps of PGD, each a quarter of the budget long")
    timed_images: int = setting(50, "images that withstood APGD on which it is timed, the same work for everyone")
    peers: tuple[str, ...] = setting((), "other implementations that attack the same weights and images")
    seed: int = setting(0, "seed of the random starts and searches")
    chunk_size: int = setting(50, "images in memory at once")

    def __post_init__(self) -> None:
        for name in (*self.alone, *self.ensemble):
            check_choice("attack", name, attack.PREDICTION_ATTACKS)
        attack.norm_by_name(self.norm)
        check_epsilon(self.epsilon, self.norm)
        check_count("num_images", self.num_images, minimum=0)
        check_count("timed_images", self.timed_images, minimum=0)
        check_count("chunk_size", self.chunk_size)
        self.version()

    def version(self, *attacks: str) -> attack.AutoAttackConfig:
        """The settings, with these attacks or those of the ensemble."""
        return attack.AutoAttackConfig(
            attacks=attacks or self.ensemble,
            num_steps=self.num_steps,
            num_targets=self.num_targets,
            num_queries=self.num_queries,
            pgd_steps=self.pgd_steps,
        )


def run_strength(
    config: StrengthConfig,
    run_dir: str | Path,
    *,
    peers: Mapping[str, Peer],
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Attacks each model, by the library and by the `peers` that the configuration names, and writes result.json.

    A row for each model, attack and implementation; every implementation's images are judged by the library's model:
    robust is what is classified correctly both clean and at the valid image that the attack returned.
    Raises: InputError for bad input, before anything is written.
    """
    progress = on_progress or (lambda what, record: None)
    for name in config.peers:
        check_choice("peer", name, peers)
    progress("loading models and data", {})
    trained = load_trained(config.models, data_dir=config.data_dir)
    for method in config.methods:
        check_choice("method of the study", method, trained.config.methods)
    test = load_split(trained.config.dataset, trained.config.data_dir, "test", config.num_images)
    images, labels = test.as_float(), np.asarray(test.labels)
    directory = RunDirectory(run_dir, config, overwrite=overwrite)
    started = time.perf_counter()
    result: dict[str, Any] = {
        "format": record.FORMAT,
        "kind": "attack_strength",
        "experiment": config.experiment,
        "config": config.as_dict(),
        "environment": environment.describe(),
        "num_images": len(test),
        "rows": [],
        "timings": [],
        "complete": False,
    }
    chosen = [model for model in trained.trained if model.method in config.methods]
    for number, model in enumerate(chosen):
        progress(model.name, {"unit": number, "num_units": len(chosen), "of": "model"})
        made = {name: peers[name].make(config, trained, model.variables) for name in config.peers}
        for what in (*config.alone, "ensemble"):
            robust = _by_library(config, trained, model, what, images, labels, result, progress)
            for name, peer in made.items():
                if what in peers[name].attacks:
                    progress(f"{what} on {model.name} by {name}", {})
                    row = _by_peer(config, trained, model, what, images, labels, peer, robust)
                    result["rows"].append({"model": model.name, "attack": what, "by": name, **row})
            result["environment"]["seconds"] = round(time.perf_counter() - started, 1)
            directory.write_result(result)
        withstood = np.flatnonzero(robust)[: config.timed_images]
        if len(withstood) and config.timed_images:
            progress(f"timing APGD on {model.name}", {})
            able = {name: peer for name, peer in made.items() if "apgd-ce" in peers[name].attacks}
            timing = _timing(config, trained, model, images[withstood], labels[withstood], able)
            result["timings"].append({"model": model.name, "num_images": len(withstood), **timing})
    result["complete"] = True
    result["environment"]["seconds"] = round(time.perf_counter() - started, 1)
    directory.write_result(result)
    return result


def _attacked(
    config: StrengthConfig, trained: TrainedStudy, model: TrainedModel, version: attack.AutoAttackConfig,
    *data: np.ndarray,
    on_progress: Callable[[str, dict[str, float]], None] | None = None,
) -> tuple[np.ndarray, attack.AutoAttackInfo, float]:  # fmt: skip
    started = time.perf_counter()
    adversarial, info = attack.auto_attack(
        jax.random.key(config.seed), functools.partial(trained.model_fn, model.variables), *data,
        norm=config.norm, epsilon=config.epsilon, version=version, chunk_size=config.chunk_size,
        on_progress=on_progress,
    )  # fmt: skip
    return adversarial, info, time.perf_counter() - started


def _by_library(
    config: StrengthConfig,
    trained: TrainedStudy,
    model: TrainedModel,
    what: str,
    images: np.ndarray,
    labels: np.ndarray,
    result: dict[str, Any],
    progress: OnProgress,
) -> np.ndarray:
    """Adds the library's row and returns which images are robust."""
    progress(f"{what} on {model.name}", {})
    version = config.version() if what == "ensemble" else config.version(what)

    def on_progress(name: str, record: dict[str, float]) -> None:
        progress(f"{name} on {model.name}: {100 * record['robust_accuracy']:.1f} % left", {})

    _, info, seconds = _attacked(config, trained, model, version, images, labels, on_progress=on_progress)
    row = {
        "model": model.name,
        "attack": what,
        "by": "jsep",
        "clean_accuracy": float(info.clean_correct.mean()),
        "robust_accuracy": float(info.robust.mean()),
        "seconds": round(seconds, 1),
    }
    if what == "ensemble":
        row["accuracy_after"] = info.robust_accuracy
        row["checks"] = [dataclasses.asdict(check) for check in info.checks]
    result["rows"].append(row)
    return info.robust


def _by_peer(
    config: StrengthConfig,
    trained: TrainedStudy,
    model: TrainedModel,
    what: str,
    images: np.ndarray,
    labels: np.ndarray,
    peer: PeerAttack,
    robust: np.ndarray,
) -> dict[str, Any]:
    """A row, with the share of the images on which peer and library agree whether they are robust."""
    started = time.perf_counter()
    found = peer(what, images, labels)
    seconds = time.perf_counter() - started
    if found.shape != images.shape:
        raise InputError(f"a peer returned images of shape {found.shape}, expected {images.shape}")
    change = (found.astype(np.float64) - images).reshape(len(images), -1)
    size = np.abs(change).max(1) if config.norm == "linf" else np.linalg.norm(change, axis=1)
    valid = (size <= config.epsilon * (1 + 1e-5) + 1e-6) & (found.min((1, 2, 3)) >= 0) & (found.max((1, 2, 3)) <= 1)
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
    config: StrengthConfig,
    trained: TrainedStudy,
    model: TrainedModel,
    images: np.ndarray,
    labels: np.ndarray,
    peers: Mapping[str, PeerAttack],
) -> dict[str, Any]:
    """Seconds of APGD on the cross-entropy over images that withstand it: nobody ends early, and all is compiled."""
    version = config.version("apgd-ce")
    _attacked(config, trained, model, version, images, labels)
    timing = {"jsep": round(_attacked(config, trained, model, version, images, labels)[2], 2)}
    for name, peer in peers.items():
        started = time.perf_counter()
        peer("apgd-ce", images, labels)
        timing[name] = round(time.perf_counter() - started, 2)
    return {"attack": "apgd-ce", "num_steps": config.num_steps, "seconds": timing}

"""The card of a model: its accuracies and the robustness of its explanations, measured as a protocol says."""

import dataclasses
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jsep import attack, data, evaluate, record
from jsep.checks import InputError
from jsep.evaluate.accuracy import check_classes
from jsep.evaluate.model_arguments import takes_logits_fn
from jsep.study.card_subject import CardSubject, load_card_subject
from jsep.study.config import StudyConfig
from jsep.study.configuration import NUM_SEEDS, Configuration, count, setting
from jsep.study.costs import FunctionCosts, ImageCosts
from jsep.study.options import number
from jsep.study.pair_results import warnings_of
from jsep.study.progress import StepCounter
from jsep.study.protocols import PROTOCOLS, Protocol
from jsep.study.protocols import protocol as protocol_of
from jsep.study.runner import Run, StudyKind
from jsep.study.setup import load_split
from jsep.study.work import Task, Work, data_sizes, network_costs
from jsep.types import ModelFn, PyTree

SILENT = StepCounter(lambda what, record: None)
"""A counter that reports nothing."""


@dataclasses.dataclass(frozen=True)
class CardConfig(Configuration):
    """A model and a protocol. The help text of each field is its documentation."""

    classifier: str = setting(
        "cifar10_convnet_mat",
        "model: a name of the zoo, the run directory of a finished study, or module:function, where the function "
        "returns a model of any framework, or (model, variables)",
    )
    method: str | None = setting(None, "training method of the model in a run directory; default: its only one")
    model_seed: int | None = setting(
        None, "training seed of the model in a run directory; default: its only one", minimum=0, maximum=NUM_SEEDS - 1
    )
    input_mean: tuple[str, ...] = setting((), "mean of each channel, of a function whose model needs normalised images")
    input_std: tuple[str, ...] = setting((), "standard deviation of each channel, likewise")
    protocol: str = setting("cifar10_linf_v1", "what is measured", choices=PROTOCOLS)
    data_dir: str | None = setting(None, "TFDS data directory; default: TFDS's own; downloaded there if absent")
    chunk_size: int = count(20, "images or pairs in memory at once")

    def check(self) -> None:
        """Raises: InputError for a mean or deviation that is not a number."""
        self.subject_settings()

    def subject_settings(self) -> dict[str, Any]:
        """The arguments of `load_card_subject`."""
        try:
            mean, std = (tuple(map(number, texts)) for texts in (self.input_mean, self.input_std))
        except ValueError:
            raise InputError("input_mean and input_std must be one number a channel") from None
        return {"method": self.method, "seed": self.model_seed, "data_dir": self.data_dir, "mean": mean, "std": std}


class _Task(NamedTuple):
    """What a part of a card gets."""

    model_fn: ModelFn
    variables: PyTree
    protocol: Protocol
    test: data.Dataset
    chunk_size: int
    store: Path | None
    counter: StepCounter

    def key(self, purpose: int) -> jax.Array:
        """The key of a part; of images and pairs each has its own by its place, so that fewer of them get the same."""
        return jax.random.fold_in(jax.random.key(self.protocol.seed), purpose)

    def stored(self, part: str) -> Path | None:
        """Where the part keeps finished chunks."""
        return None if self.store is None else self.store / part


def _classified(task: _Task, part: str, num_steps: int) -> np.ndarray:
    protocol = task.protocol
    images = task.test.take(slice(protocol.sizes[part]))
    task.counter.begin(f"{part}: {len(images)} images", len(images))
    found = evaluate.classification(
        task.key(1), task.model_fn, task.variables, images, norm=protocol.norm, epsilon=protocol.epsilon,
        alpha=protocol.alpha, num_steps=num_steps, chunk_size=task.chunk_size, store=task.stored(part),
        on_progress=task.counter,
    )  # fmt: skip
    return found.robust


def _clean(task: _Task) -> dict[str, Any]:
    return _accuracy("clean_accuracy", _classified(task, "clean", 0))


def _pgd(task: _Task) -> dict[str, Any]:
    return _accuracy("robust_accuracy", _classified(task, "pgd", task.protocol.num_steps))


def _accuracy(name: str, correct: np.ndarray) -> dict[str, Any]:
    return {name: float(correct.mean()), "per_image": {name: record.pack_correct(correct)}}


def _auto_attack(task: _Task) -> dict[str, Any]:
    protocol = task.protocol
    images = task.test.take(slice(protocol.sizes["auto_attack"]))
    task.counter.begin(f"AutoAttack: {len(images)} images", len(images))
    info = evaluate.auto_attack_accuracy(
        task.key(2), task.model_fn, task.variables, images, norm=protocol.norm, epsilon=protocol.epsilon,
        version=protocol.auto_attack, chunk_size=task.chunk_size, store=task.stored("auto_attack"),
    )[2]  # fmt: skip
    return {**_accuracy("auto_attack_accuracy", info.robust), "auto_attack_warnings": list(info.raised)}


def _explanations(task: _Task) -> dict[str, Any]:
    protocol, settings = task.protocol, task.protocol.explanation_settings()
    pairs = protocol.pairs(task.test)
    num_chunks = -(-len(pairs.victims) // task.chunk_size)
    task.counter.begin(f"explanations: {len(pairs.victims)} pairs", num_chunks * settings.total_steps)
    results = evaluate.explanation_robustness(
        task.key(3), task.model_fn, task.variables, task.test, pairs, settings, chunk_size=task.chunk_size,
        store=task.stored("pairs"), on_step=task.counter,
    )  # fmt: skip
    right = _pairs_understood(task, results, pairs)
    per_pair = {name: np.where(right, getattr(results, name), np.nan) for name in ("loss_start", "loss_end")}
    found: dict[str, Any] = {
        "pairs_attacked": int(right.sum()),
        "per_pair": {
            f"explanation_{name}": [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]
            for name, values in per_pair.items()
        },
    }
    if not right.any():
        return found
    own = evaluate.PairResults(*(np.asarray(values)[right] for values in results))
    described = evaluate.describe_pairs(own, chunk_size=task.chunk_size)
    described.pop("per_pair")
    return {**found, **own.summary(), **described, **warnings_of(settings, own)}


def _pairs_understood(task: _Task, results: evaluate.PairResults, pairs: evaluate.PairIndex) -> np.ndarray:
    """(P,) whether the model classifies both images of a pair correctly: a map of a mistake explains another class."""
    labels, targets = task.test.labels, np.asarray(pairs.targets)
    of_targets = evaluate.classification(
        task.key(1), task.model_fn, task.variables, task.test.take(targets), num_steps=0, chunk_size=task.chunk_size
    ).clean
    return (np.asarray(results.predicted) == labels[np.asarray(pairs.victims)]) & of_targets


PARTS: dict[str, Callable[[_Task], dict[str, Any]]] = {
    "clean": _clean,
    "pgd": _pgd,
    "auto_attack": _auto_attack,
    "pairs": _explanations,
}
"""size of a protocol -> what is measured on so many images or pairs."""


@takes_logits_fn
def measure_card(
    model_fn: ModelFn,
    variables: PyTree,
    protocol: Protocol,
    test: data.Dataset,
    *,
    chunk_size: int = 20,
    store: str | Path | None = None,
    counter: StepCounter = SILENT,
) -> dict[str, Any]:
    """What `protocol` measures of a model.

    Args: model_fn, variables: as in `evaluate.classification`, or one logits_fn(image) for both; test: the test images,
      `data.load(protocol.dataset, split="test")`; chunk_size: images or pairs in memory at once; store: a directory
      that keeps finished chunks, from which a repeated call goes on.
    Returns: clean_accuracy, robust_accuracy (PGD), auto_attack_accuracy, each over its images of the protocol; the
      metrics of `evaluate.PairResults.summary` and `evaluate.compare_maps` over the pairs whose two images the model
      classifies correctly ("pairs_attacked"); "per_image" and "per_pair" with the single values; warnings of the
      ensembles. A model that classifies no pair correctly has no metrics of explanations.
    Raises: InputError for other images than the protocol's, or a model that does not fit them.
    """
    task = _Task(model_fn, variables, protocol, test, chunk_size, None if store is None else Path(store), counter)
    return merged([measure(task) for measure in PARTS.values()])


def merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The parts of a card as one, without their own entries "part" and "seconds"."""
    found: dict[str, Any] = {"per_image": {}}
    for part in parts:
        found["per_image"] |= part.get("per_image", {})
        found |= {name: value for name, value in part.items() if name not in ("part", "seconds", "per_image")}
    return found


class _Prepared(NamedTuple):
    subject: CardSubject
    protocol: Protocol
    test: data.Dataset


def _prepare(config: CardConfig) -> _Prepared:
    protocol = protocol_of(config.protocol)
    test = load_split(protocol.dataset, config.data_dir, "test", 0)
    protocol.pairs(test)
    shape = test.info.image_shape
    subject = load_card_subject(config.classifier, input_shape=shape, **config.subject_settings())
    check_classes(subject.model_fn, subject.variables, test)
    return _Prepared(subject, protocol, test)


def measure(config: CardConfig, prepared: _Prepared, run: Run) -> None:
    """Adds a row for each part of the card, and then the card, run.result["card"]."""
    subject, protocol, test = prepared
    run.progress(f"{protocol.full_name} takes about {protocol.minutes} minutes for a ConvNet on two cores", {})
    run.result |= {"model": subject.name, "sha256": subject.sha256, "protocol": protocol.full_name}
    store = run.directory.path / "chunks"
    task = _Task(subject.model_fn, subject.variables, protocol, test, config.chunk_size, store, run.counter)
    for part in run.missing(list(PARTS), "part", lambda part: f"{part} of {subject.name}"):
        started = time.perf_counter()
        found = PARTS[part](task)
        run.rows.append({"part": part, "seconds": round(time.perf_counter() - started, 1), **found})
        run.save()
    run.result["card"] = merged(run.rows)


def _work(config: CardConfig, done: Collection[tuple[str, int]]) -> Work:
    protocol = protocol_of(config.protocol)
    timed = StudyConfig.of(dataset=protocol.dataset)
    images = data_sizes(timed)
    shape = images.info.image_shape
    subject = load_card_subject(config.classifier, input_shape=shape, **config.subject_settings())
    costs: ImageCosts
    if subject.network is not None:
        costs = network_costs(subject.network, images)
    else:
        costs = FunctionCosts(subject.model_fn, subject.variables, images.info.image_shape)
    sizes, gradient = protocol.sizes, costs.input_gradient
    settings = attack.AUTO_ATTACK_VERSIONS[protocol.auto_attack]
    passes: dict[str, float] = {"apgd-ce": settings.num_steps, "apgd-t": settings.num_targets * settings.num_steps}
    passes |= {"fab-t": 2 * settings.num_targets * settings.num_steps, "square": settings.num_queries / 3}
    ensemble = sum(passes.get(name, settings.num_steps) for name in settings.attacks) * gradient
    each = {
        "clean": ("clean accuracy", "images", costs.forward),
        "pgd": (f"PGD of {protocol.num_steps} steps", "images", costs.pgd(protocol.num_steps)),
        "auto_attack": ("AutoAttack, at most", "images", ensemble),
        "pairs": ("ensemble against explanations", "pairs", costs.explanation_attack(protocol.explanation_settings())),
    }
    return Work(
        [Task(f"{what} on {sizes[part]} {of}", sizes[part] * flops) for part, (what, of, flops) in each.items()], timed
    )


CARD = StudyKind("card", CardConfig, _prepare, measure, work=_work)
"""The card of one model by a protocol."""

"""Does the choice of images matter? Pairs redrawn by several rules, and maps compared within and between clusters."""

import dataclasses
import itertools
from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import numpy as np

from jsep import evaluate, models
from jsep.checks import LARGEST_COUNT, InputError, check_choice, check_range
from jsep.evaluate.chunk_store import ChunkStore
from jsep.study.configuration import Configuration, count, setting
from jsep.study.feature_network import OWN, PIXELS, own_features, pixels
from jsep.study.methods import is_reference
from jsep.study.options import whole_number
from jsep.study.runner import Run, StudyKind
from jsep.study.trained import TrainedModel, TrainedStudy, load_trained
from jsep.study.work import Task, Work, finished_config, pair_flops
from jsep.types import Array, PyTree

_LOSSES = ("explanation_loss_start", "explanation_loss_end")


@dataclasses.dataclass(frozen=True)
class SelectionConfig(Configuration):
    """The models, selection rules and clusterings. The help text of each field is its documentation."""

    study_dir: str = setting("runs/digits_models", "run directory of a finished study, whose models are attacked")
    data_dir: str | None = setting(None, "TFDS data directory; default: where the study found its data")
    selections: tuple[str, ...] = setting(
        evaluate.SELECTIONS, "rules by which pairs are drawn", choices=evaluate.SELECTIONS
    )
    num_draws: int = count(6, "times that each rule draws its pairs, seeds 0, 1, ...", maximum=10_000)
    num_pairs: int = count(30, "pairs of each draw")
    max_seeds: int = count(
        0, "training seeds whose models are attacked, the first ones; 0: all of the study", minimum=0
    )
    feature_networks: tuple[str, ...] = setting(
        (OWN, PIXELS), f"what is clustered: {OWN} (the study's own network), {PIXELS}, or a method of the study"
    )
    cluster_counts: tuple[str, ...] = setting(("5", "10", "15"), "numbers of clusters in the table of clusterings")
    num_clusters: int = count(10, "clusters of the rules that draw pairs, and of the figure", minimum=2)
    chunk_size: int = count(64, "images or pairs in memory at once")

    def check(self) -> None:
        """Raises: InputError for invalid numbers of clusters."""
        for text in self.cluster_counts:
            try:
                check_range("cluster_counts", whole_number(text), whole=True, minimum=2, maximum=LARGEST_COUNT)
            except ValueError:
                given = ", ".join(self.cluster_counts)
                raise InputError(f"cluster_counts must be whole numbers >= 2, got {given}") from None


class _Prepared(NamedTuple):
    study: TrainedStudy
    trained: list[TrainedModel]
    points: dict[str, np.ndarray]


def _prepare(config: SelectionConfig) -> _Prepared:
    study = load_trained(config.study_dir, data_dir=config.data_dir)
    seeds = list(study.config.seeds)[: config.max_seeds or None]
    trained = [model for model in study.trained if model.seed in seeds]
    return _Prepared(study, trained, {name: _points(config, study, name) for name in config.feature_networks})


def measure(config: SelectionConfig, prepared: _Prepared, run: Run) -> None:
    """Attacks the models of a study on pairs drawn by every rule, and compares maps within and between clusters.

    The losses of every draw and model are stored when computed, so that an interrupted run resumes.
    """
    study, trained, points = prepared
    run.result |= {
        "study": study.config.as_dict(),
        "num_pixels": int(np.prod(study.test.info.image_shape[:2])),
    }
    draws = _draws(config, prepared, run)
    run.result["summary"] = evaluate.pair_sampling_variability(draws)
    # The many values of single pairs go to maps.npz; only the means per draw stay in the result.
    run.directory.add_maps({name: np.array([draw[name] for draw in draws], np.float32) for name in _LOSSES})
    run.result["draws"] = [{**draw, **{name: float(np.mean(draw[name])) for name in _LOSSES}} for draw in draws]
    maps = {model.name: _maps(config, study, model) for model in trained if model.seed == study.config.seed}
    run.result["clusterings"] = []
    units = list(itertools.product(config.feature_networks, config.cluster_counts, evaluate.CLUSTERINGS))
    for place, (name, num, selection) in enumerate(units):
        run.announce(place, len(units), "clustering", f"{num} clusters of {name} by {selection}")
        groups = evaluate.make_groups(points[name], study.test.labels, selection, num_clusters=int(num))
        agree = float(evaluate.adjusted_rand_index(groups.labels, study.test.labels))
        entry = {"feature_network": name, "num_clusters": int(num), "selection": selection}
        run.result["clusterings"] += [
            entry | {"model": model, "agreement": agree, **evaluate.cluster_explanation_loss(own, groups.labels)}
            for model, own in maps.items()
        ]
    # The figure shows the first model of a plain adversarial objective, else the first model.
    shown = next((name for name in maps if is_reference(name.rpartition("_seed")[0])), next(iter(maps)))
    of_figure = points[config.feature_networks[0]]
    groups = evaluate.make_groups(of_figure, study.test.labels, "kmeans", num_clusters=config.num_clusters)
    rows = _rows_of_figure(groups)
    images = study.test.as_float(rows.ravel()).reshape(*rows.shape, *study.test.info.image_shape)
    run.directory.add_maps({"images": images, "maps": maps[shown][rows], "members": rows, "model": np.array(shown)})


def _draws(config: SelectionConfig, prepared: _Prepared, run: Run) -> list[dict[str, Any]]:
    """One entry per rule, draw and model, with the losses of all pairs."""
    study, trained, points = prepared
    first = config.feature_networks[0]
    # A run directory has one configuration, so the store need only be keyed by the models, which may have changed.
    chunks = ChunkStore(run.directory.path / "chunks", [model.variables for model in trained])
    num_attacks = len(config.selections) * config.num_draws * len(trained)
    found: list[dict[str, Any]] = []
    for selection, draw in itertools.product(config.selections, range(config.num_draws)):
        pairs = evaluate.select_pairs(
            points[first],
            study.test,
            num_clusters=config.num_clusters,
            num_pairs=config.num_pairs,
            feature_network=first,
            seed=draw,
            selection=selection,
        )
        for model in trained:
            losses = chunks.load(len(found))
            if losses is None:
                run.announce(len(found), num_attacks, "attack", f"{model.name}, {selection} {draw}")
                losses = _attack(config, study, model, pairs)
                chunks.save(len(found), losses)
            of_model = {"method": model.method, "seed": model.seed}
            found.append({"selection": selection, "draw": draw, "hash": pairs.hash, **of_model, **losses})
    return found


def _points(config: SelectionConfig, study: TrainedStudy, name: str) -> np.ndarray:
    """(B, F) features of the test images by the named network."""
    if name == PIXELS:
        return pixels(study.test)
    if name == OWN:
        return own_features(study, config.study_dir, study.test, chunk_size=config.chunk_size)
    check_choice("feature network", name, [OWN, PIXELS, *study.config.methods])
    variables = next(m.variables for m in study.trained if m.method == name and m.seed == study.config.seed)
    return evaluate.features(models.features_fn(study.model), variables, study.test, chunk_size=config.chunk_size)


def _attack(
    config: SelectionConfig, study: TrainedStudy, model: TrainedModel, pairs: evaluate.PairIndex
) -> dict[str, np.ndarray]:
    """name -> losses of the pairs, (P,)."""
    settings = study.config.explanation_attack()
    results = study.attack_explanations(model, settings, pairs=pairs, chunk_size=config.chunk_size)
    losses = zip(_LOSSES, (results.loss_start, results.loss_end), strict=True)
    return {name: np.asarray(values) for name, values in losses}


def _maps(config: SelectionConfig, study: TrainedStudy, model: TrainedModel) -> np.ndarray:
    """(B, H, W) maps of all test images for the predicted class."""
    attack = study.config.explanation_attack()

    @jax.jit
    def explain_all(variables: PyTree, images: Array) -> Array:
        def one(image: Array) -> Array:
            def logits_fn(z: Array) -> Array:
                return study.model_fn(variables, z)

            label = logits_fn(image).argmax()
            key = jax.random.key(study.config.seed)
            return attack.make_map_fn(logits_fn, label, key=key)(image)

        return jax.lax.map(one, images, batch_size=min(config.chunk_size, len(images)))

    return np.asarray(explain_all(model.variables, study.test.as_float(slice(None))))


def _rows_of_figure(groups: evaluate.Groups, num_clusters: int = 4, num_images: int = 5) -> np.ndarray:
    """(clusters, images): indices of the images nearest to the centres of the largest clusters."""
    sizes = np.bincount(groups.labels)
    largest = [int(label) for label in np.argsort(-sizes, kind="stable")[:num_clusters]]
    width = min(num_images, int(sizes[largest].min()))
    members = [np.flatnonzero(groups.labels == label) for label in largest]
    return np.stack([group[np.argsort(groups.rank[group], kind="stable")[:width]] for group in members])


def _work(config: SelectionConfig, done: Collection[tuple[str, int]]) -> Work:
    study = finished_config(config.study_dir)
    num_models = len(study.methods) * min(config.max_seeds or study.num_seeds, study.num_seeds)
    attacks = num_models * len(config.selections) * config.num_draws
    what = f"attack {num_models} models of {config.study_dir} on {config.num_pairs} pairs, drawn "
    what += f"{config.num_draws} times by each of {len(config.selections)} rules"
    return Work([Task(what, attacks * config.num_pairs * pair_flops(study))], study)


SELECTION = StudyKind("selection", SelectionConfig, _prepare, measure, work=_work)
"""Pairs redrawn by several rules, and maps within and between clusters. Figure 2."""

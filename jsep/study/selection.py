"""Does the choice of images matter? Pairs drawn anew by several rules, and maps within and between clusters."""

import dataclasses
import itertools
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jsep import evaluate, models, record, report
from jsep.checks import InputError, check_choice, check_count
from jsep.evaluate.chunk_store import ChunkStore
from jsep.study import environment
from jsep.study.feature_network import OWN, PIXELS, own_features, pixels
from jsep.study.flat_config import FlatConfig, setting
from jsep.study.run import OnProgress
from jsep.study.run_directory import RunDirectory
from jsep.study.trained import TrainedModel, TrainedStudy, load_trained
from jsep.types import Array, PyTree

_LOSSES = ("explanation_loss_start", "explanation_loss_end")


@dataclasses.dataclass(frozen=True)
class SelectionConfig(FlatConfig):
    """Which models, rules and clusterings. The help text of each field is its documentation."""

    study_dir: str = setting("runs/digits_models", "run directory of a finished study, whose models are attacked")
    data_dir: str | None = setting(None, "TFDS data directory; default: where the study found its data")
    selections: tuple[str, ...] = setting(evaluate.SELECTIONS, "rules by which pairs are drawn")
    num_draws: int = setting(6, "times that each rule draws its pairs, seeds 0, 1, ...")
    num_pairs: int = setting(30, "pairs of each draw")
    max_seeds: int = setting(0, "training seeds whose models are attacked, the first ones; 0: all of the study")
    feature_networks: tuple[str, ...] = setting(
        (OWN, PIXELS), f"what is clustered: {OWN} (the study's own network), {PIXELS}, or a method of the study"
    )
    cluster_counts: tuple[str, ...] = setting(("5", "10", "15"), "numbers of clusters in the table of clusterings")
    num_clusters: int = setting(10, "clusters of the rules that draw pairs, and of the figure")
    chunk_size: int = setting(64, "images or pairs in memory at once")

    def __post_init__(self) -> None:
        for name in self.selections:
            check_choice("selection", name, evaluate.SELECTIONS)
        for name in ("num_draws", "num_pairs", "chunk_size"):
            check_count(name, getattr(self, name))
        check_count("max_seeds", self.max_seeds, minimum=0)
        check_count("num_clusters", self.num_clusters, minimum=2)
        if not all(text.isdigit() and int(text) >= 2 for text in self.cluster_counts):
            raise InputError(f"cluster_counts must be whole numbers >= 2, got {', '.join(self.cluster_counts)}")


def run_selection(
    config: SelectionConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Attacks the models of a study on pairs drawn by every rule, compares maps within and between clusters, and writes
    result.json, maps.npz, clusters.png and draws.png.

    The losses of every draw and model are kept when they are there: with `resume` an interrupted run goes on.
    Raises: InputError for bad input, before anything is written.
    """
    progress = on_progress or (lambda what, record: None)
    progress("loading models", {})
    study = load_trained(config.study_dir, data_dir=config.data_dir)
    seeds = list(study.config.seeds)[: config.max_seeds or None]
    trained = [model for model in study.trained if model.seed in seeds]
    points = {name: _points(config, study, name) for name in config.feature_networks}
    directory = RunDirectory(run_dir, config, resume=resume, overwrite=overwrite)
    started = time.perf_counter()
    result: dict[str, Any] = {
        "format": record.FORMAT,
        "kind": "selection",
        "experiment": config.experiment,
        "config": config.as_dict(),
        "study": study.config.as_dict(),
        "environment": environment.describe(),
        "draws": [],
        "clusterings": [],
    }
    chunks = ChunkStore(directory.path / "chunks", ([model.variables for model in trained], repr(config)))
    first = config.feature_networks[0]
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
            place = len(result["draws"])
            losses = chunks.load(place)
            if losses is None:
                num_attacks = len(config.selections) * config.num_draws * len(trained)
                part = {"unit": place, "num_units": num_attacks, "of": "attack"}
                progress(f"{model.name}, {selection} {draw}", part)
                losses = _attack(config, study, model, pairs)
                chunks.save(place, losses)
            of_model = {"method": model.method, "seed": model.seed}
            result["draws"].append({"selection": selection, "draw": draw, "hash": pairs.hash, **of_model, **losses})
    maps = {model.name: _maps(config, study, model) for model in trained if model.seed == seeds[0]}
    for name, count in itertools.product(config.feature_networks, config.cluster_counts):
        for selection in evaluate.CLUSTERINGS:
            num_groupings = len(config.feature_networks) * len(config.cluster_counts) * len(evaluate.CLUSTERINGS)
            unit = len(result["clusterings"]) // len(maps)
            part = {"unit": unit, "num_units": num_groupings, "of": "clustering"}
            progress(f"{count} clusters of {name} by {selection}", part)
            groups = evaluate.make_groups(points[name], study.test.labels, selection, num_clusters=int(count))
            agree = float(evaluate.adjusted_rand_index(groups.labels, study.test.labels))
            for model_name, own in maps.items():
                entry = {
                    "feature_network": name,
                    "num_clusters": int(count),
                    "selection": selection,
                    "model": model_name,
                }
                result["clusterings"].append(
                    {**entry, "agreement": agree, **evaluate.cluster_explanation_loss(own, groups.labels)}
                )
    result["summary"] = evaluate.pair_sampling_variability(result["draws"])
    # The values of single pairs are many: they go to maps.npz, the means of the draws stay.
    of_pairs = {name: np.array([draw[name] for draw in result["draws"]], np.float32) for name in _LOSSES}
    result["draws"] = [{**draw, **{name: float(np.mean(draw[name])) for name in _LOSSES}} for draw in result["draws"]]
    result["environment"]["seconds"] = round(time.perf_counter() - started, 1)
    directory.write_result(result)
    shown = next((name for name in maps if name.startswith("mat")), next(iter(maps)))
    groups = evaluate.make_groups(points[first], study.test.labels, "kmeans", num_clusters=config.num_clusters)
    rows = _rows_of_figure(groups)
    images = study.test.as_float(rows.ravel()).reshape(*rows.shape, *study.test.info.image_shape)
    directory.add_maps(
        {"images": images, "maps": maps[shown][rows], "members": rows, "model": np.array(shown), **of_pairs}
    )
    report.write(directory.path)
    return result


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
    """The losses of the pairs, (P,) each."""
    results = evaluate.explanation_robustness(
        jax.random.fold_in(jax.random.key(model.seed), 4),
        study.model_fn,
        model.variables,
        study.test,
        pairs,
        study.config.explanation_attack(),
        chunk_size=config.chunk_size,
    )
    losses = zip(_LOSSES, (results.loss_start, results.loss_end), strict=True)
    return {name: np.asarray(values) for name, values in losses}


def _maps(config: SelectionConfig, study: TrainedStudy, model: TrainedModel) -> np.ndarray:
    """(B, H, W) maps of all test images, of the predicted class."""
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
    """(clusters, images): the images nearest to the centre of the largest clusters."""
    sizes = np.bincount(groups.labels)
    largest = [int(label) for label in np.argsort(-sizes, kind="stable")[:num_clusters]]
    width = min(num_images, int(sizes[largest].min()))
    members = [np.flatnonzero(groups.labels == label) for label in largest]
    return np.stack([group[np.argsort(groups.rank[group], kind="stable")[:width]] for group in members])

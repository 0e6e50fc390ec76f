"""What is kept beside the code: finished studies, small and without where their data lay; models of the zoo
(`models.load_pretrained`), and the example images that all of them know.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jsep import data, evaluate, models, record
from jsep.checks import InputError
from jsep.data import example_images
from jsep.models import zoo
from jsep.record.manifest import read_listed, write_listed, write_manifest
from jsep.study.config import StudyConfig
from jsep.study.configuration import settings_of
from jsep.study.feature_network import network_name, own_network
from jsep.study.methods import training_method
from jsep.study.protocols import hash_of_images
from jsep.study.setup import SEP_WEIGHTS, load_split
from jsep.study.trained import WEIGHTS, load_trained


def keep_study(run_dir: str | Path, kept_dir: str | Path) -> Path:
    """Writes to `kept_dir` all that further analysis of a finished study needs, small enough to be kept with the code:
    its configuration, result and pairs, and the weights of its models and its feature network as float16 in place of
    checkpoints.

    `load_trained(kept_dir)` reads them; later measurements and training start from the rounded weights.
    Raises: InputError where `run_dir` holds no finished study.
    """
    source, target = Path(run_dir).expanduser(), Path(kept_dir).expanduser()
    study = load_trained(source)
    (target / WEIGHTS).mkdir(parents=True, exist_ok=True)
    suffix = "_best" if study.config.evaluated_checkpoint == "best" else ""
    kept = {f"{trained.name}{suffix}": trained.variables for trained in study.trained}
    features = network_name(study.config)
    if (source / "checkpoints" / features).is_dir() or (source / WEIGHTS / f"{features}.npz").exists():
        kept[features] = own_network(study, source)[1]
    files = {f"{WEIGHTS}/{name}.npz": variables for name, variables in kept.items()}
    write_manifest(
        target, files={name: [models.save_weights(target / name, variables)] for name, variables in files.items()}
    )
    for name in ("pairs.json", SEP_WEIGHTS):
        if (source / name).exists():
            write_listed(target / name, read_listed(source / name))
    contents = {"config.json": json.loads(read_listed(source / "config.json")), "result.json": record.read_json(source)}
    for name, content in contents.items():
        write_listed(target / name, json.dumps(_without_data_dir(content), indent=1) + "\n")
    return target


def _without_data_dir(content: dict[str, Any]) -> dict[str, Any]:
    """A configuration or result without where its data lay, which only the machine of the run knows."""
    config, environment = content.get("config", content), content.get("environment", {})
    data_dir, config["data_dir"] = config.get("data_dir"), None
    if "command" in environment:
        environment["command"] = _portable(environment["command"], data_dir)
    return content


_RECIPE = ("data", "model", "training", "budget", "attack")
"""Groups of settings that say how a model was trained, besides "sep" and "start" where they apply."""


def put_weights(
    name: str, run_dir: str | Path, method: str, seed: int, *, data_dir: str | None = None, folder: Path = zoo.FOLDER
) -> dict[str, Any]:
    """Writes the weights of a finished study's model as NAME.npz, and its card NAME.json without measurements yet.

    Measure what `models.load_pretrained` returns, since the weights are rounded, then call `put_measured`.
    Returns: the card. Raises: InputError where the study has no such model.
    """
    study = load_trained(run_dir, data_dir=data_dir)
    found = {trained.name: trained for trained in study.trained}
    wanted = f"{method}_seed{seed}"
    if wanted not in found:
        raise InputError(f"{run_dir} has no model {wanted}; it has {', '.join(found)}")
    result = record.read_json(run_dir)
    applies = {"sep": training_method(method).sep_sign != 0, "start": study.config.start.run_dir is not None}
    groups = {*_RECIPE, *(group for group, whether in applies.items() if whether)}
    settings = {
        each.name: each.get(study.config) for each in settings_of(StudyConfig).values() if each.path[0] in groups
    }
    made, info = result["environment"], study.test.info
    card = {
        "format": 1,
        "name": name,
        "dataset": info.name,
        "method": method,
        "seed": seed,
        "model": _arguments(study.config, info),
        "recipe": {
            "command": _portable(made["command"], study.config.data.data_dir),
            "commit": made["commit"],
            "date": made["date"],
            "sep_weight": found[wanted].sep_weight,
            "settings": {key: value for key, value in settings.items() if value is not None and key != "data_dir"},
        },
        "measured": {},
        "sha256": models.save_weights(folder / f"{name}.npz", found[wanted].variables),
    }
    path = folder / f"{name}.json"
    if path.exists() and (old := json.loads(path.read_text()))["sha256"] == card["sha256"]:
        card["measured"] = old["measured"]
    _write(path, card)
    return card


def _arguments(config: StudyConfig, info: data.DatasetInfo) -> dict[str, Any]:
    """The arguments of `models.create`."""
    own = config.model
    return {
        "name": own.name,
        "num_classes": info.num_classes,
        "input_shape": list(info.image_shape),
        "activation": own.activation,
        "softplus_beta": own.softplus_beta,
        "mean": list(info.mean) if own.normalise_input else None,
        "std": list(info.std) if own.normalise_input else None,
    }


def _portable(command: str, data_dir: str | None) -> str:
    """The command without where its data lay, which only the machine of the run knows."""
    return command if data_dir is None else command.replace(f"--data_dir={data_dir}", "--data_dir=DIR")


def put_measured(name: str, result: Mapping[str, Any], *, folder: Path = zoo.FOLDER) -> None:
    """Writes what a card study measured of the zoo's model `name` into its card, under the name of the protocol."""
    path = folder / f"{name}.json"
    card = json.loads(path.read_text())
    if not result["complete"] or result["sha256"] != card["sha256"]:
        raise InputError(f"the measured card is not of the weights of {name}; measure it with overwrite=True")
    made = {part: result["environment"][part] for part in ("commit", "date", "jax", "device", "seconds")}
    card["measured"][result["protocol"]] = {**result["card"], "environment": made}
    _write(path, card)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


def renew_examples(
    dataset: str, *, data_dir: str | None = None, folder: Path = example_images.FOLDER, num_searched: int = 2000
) -> list[int]:
    """Writes the example images of a data set: of every class the first test image that all its models in the zoo
    classify correctly, and the next ones of the first classes. Images that still are such stay.

    Args: num_searched: the first so many test images are considered. Returns: their test indices.
    Raises: InputError where too few images are classified correctly by all.
    """
    test, right = _classified_by_all(dataset, data_dir, num_searched)
    path = folder / f"{dataset}.npz"
    before = example_images.read_examples(dataset, folder)["indices"].tolist() if path.exists() else []
    pool = [index for index in before if right[index]] + np.flatnonzero(right).tolist()
    chosen: list[int] = []
    for label in np.resize(np.arange(test.info.num_classes), example_images.NUM_EXAMPLES):
        left = [index for index in pool if test.labels[index] == label and index not in chosen]
        if not left:
            raise InputError(
                f"too few test images of class {label} are classified correctly by all models of {dataset}"
            )
        chosen.append(left[0])
    arrays = {"images": test.images[np.array(chosen)], "labels": test.labels[chosen], "indices": np.array(chosen)}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return chosen


def draw_pairs(
    dataset: str, num_pairs: int, *, data_dir: str | None = None, num_searched: int = 2000
) -> dict[str, Any]:
    """Pairs for a new protocol: random test images, of those that all models of the data set in the zoo classify
    correctly, each with a random one of another class as its target.

    Returns: the entries "victims", "targets" and "sha256" of the protocol's file.
    """
    test, right = _classified_by_all(dataset, data_dir, num_searched)
    known = np.flatnonzero(right)
    pairs = evaluate.select_pairs(
        known[:, None].astype(float), test.take(known), num_clusters=2, num_pairs=num_pairs, feature_network="none",
        selection="random",
    )  # fmt: skip
    victims, targets = (known[np.array(places)].tolist() for places in (pairs.victims, pairs.targets))
    return {"victims": victims, "targets": targets, "sha256": hash_of_images(test, victims, targets)}


def _classified_by_all(dataset: str, data_dir: str | None, num_searched: int) -> tuple[data.Dataset, np.ndarray]:
    """The first test images, and which of them all models of the zoo for the data set classify correctly, (B,) bool."""
    test = load_split(dataset, data_dir, "test", 0).take(slice(num_searched))
    right = np.ones(len(test), bool)
    for name in models.pretrained():
        loaded = models.load_pretrained(name)
        if loaded.card["dataset"] == dataset:
            nothing = jax.random.key(0)
            right &= evaluate.classification(nothing, loaded.model_fn, loaded.variables, test, num_steps=0).clean
    return test, right

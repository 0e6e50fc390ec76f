"""Finished studies kept beside the code, small and without where their data lay."""

import json
from pathlib import Path
from typing import Any

from jsep import models, record
from jsep.record.manifest import read_listed, write_listed, write_manifest
from jsep.study.feature_network import network_name, own_network
from jsep.study.measured_weights import SEP_WEIGHTS
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
    if data_dir is not None and "command" in environment:
        environment["command"] = environment["command"].replace(f"--data_dir={data_dir}", "--data_dir=DIR")
    return content

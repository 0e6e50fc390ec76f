"""Finished studies kept beside the code, small and without where their data lay."""

import json
from pathlib import Path
from typing import Any

from jsep import models
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
    source, target = Path(run_dir), Path(kept_dir)
    study = load_trained(source)
    (target / WEIGHTS).mkdir(parents=True, exist_ok=True)
    suffix = "_best" if study.config.evaluated_checkpoint == "best" else ""
    for trained in study.trained:
        models.save_weights(target / WEIGHTS / f"{trained.name}{suffix}.npz", trained.variables)
    features = network_name(study.config)
    if (source / "checkpoints" / features).is_dir() or (source / WEIGHTS / f"{features}.npz").exists():
        models.save_weights(target / WEIGHTS / f"{features}.npz", own_network(study, source)[1])
    for name in ("pairs.json", SEP_WEIGHTS):
        if (source / name).exists():
            (target / name).write_bytes((source / name).read_bytes())
    for name in ("config.json", "result.json"):
        _write_json(target / name, _without_data_dir(json.loads((source / name).read_text())))
    return target


def _without_data_dir(content: dict[str, Any]) -> dict[str, Any]:
    """A configuration or result without where its data lay, which only the machine of the run knows."""
    config, environment = content.get("config", content), content.get("environment", {})
    data_dir, config["data_dir"] = config.get("data_dir"), None
    if data_dir is not None and "command" in environment:
        environment["command"] = environment["command"].replace(f"--data_dir={data_dir}", "--data_dir=DIR")
    return content


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")

"""The stored results of an explanation attack on pairs: arrays of maps.npz, and warnings in a row."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jsep import attack, data, evaluate, record

_OF_RESULTS = (
    "manipulated",
    "victim_map",
    "target_map",
    "manipulated_map",
    "losses",
    "predicted",
    "manipulated_predicted",
)


def images_of_pairs(dataset: data.Dataset, pairs: evaluate.PairIndex) -> dict[str, np.ndarray]:
    """The images, labels and class names of the pairs, for maps.npz."""
    victims, targets = np.asarray(pairs.victims), np.asarray(pairs.targets)
    return {
        "victim_images": dataset.as_float(victims),
        "target_images": dataset.as_float(targets),
        "victim_labels": dataset.labels[victims],
        "target_labels": dataset.labels[targets],
        "class_names": np.array(dataset.info.class_names),
    }


def maps_of_pairs(method: str, results: evaluate.PairResults) -> dict[str, np.ndarray]:
    """The arrays of one method for maps.npz, by "method/name"."""
    return {f"{method}/{name}": np.asarray(getattr(results, name)) for name in _OF_RESULTS}


def attack_pairs(
    attacks: Mapping[str, evaluate.ExplanationAttackConfig],
    attack_with: Callable[[str, evaluate.ExplanationAttackConfig], evaluate.PairResults],
    chunk_size: int,
) -> tuple[evaluate.PairResults, dict[str, Any]]:
    """The results under the last of the attacks, and the entries of a row: its name, and the outcome under the others.

    Args: attacks: strength -> the attack, from `ExplanationConfig.attacks`; attack_with: runs one of them on the pairs.
    """
    *weaker, strongest = attacks
    by_attack = {}
    for name in weaker:
        results = attack_with(name, attacks[name])
        found = evaluate.describe_pairs(results, chunk_size=chunk_size)
        values = {**found, **results.summary()}
        per_pair = found["per_pair"]
        assert isinstance(per_pair, dict)
        by_attack[name] = {metric: values[metric] for metric in (*record.OUTCOMES, "scale_free_loss_end")}
        by_attack[name]["per_pair"] = {metric: per_pair[metric] for metric in record.OUTCOMES if metric in per_pair}
    results = attack_with(strongest, attacks[strongest])
    return results, ({"attack": strongest, "by_attack": by_attack} if weaker else {})


def warnings_of(explanation: evaluate.ExplanationAttackConfig, results: evaluate.PairResults) -> dict[str, Any]:
    """The number of warnings of masked gradients by type, for a row; empty for an attack that raises none."""
    if not explanation.entry.warns:
        return {}
    counts = results.warnings.sum(axis=0).tolist()
    return {"explanation_warnings": dict(zip(attack.WARNING_SENTENCES, counts, strict=True))}

"""The stored results of an explanation attack on pairs: arrays of maps.npz, and warnings in a row."""

from typing import Any

import numpy as np

from jsep import attack, data, evaluate

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


def warnings_of(explanation: evaluate.ExplanationAttackConfig, results: evaluate.PairResults) -> dict[str, Any]:
    """The number of warnings of masked gradients by type, for a row; empty for an attack that raises none."""
    if not explanation.entry.warns:
        return {}
    counts = results.warnings.sum(axis=0).tolist()
    return {"explanation_warnings": dict(zip(attack.WARNING_SENTENCES, counts, strict=True))}

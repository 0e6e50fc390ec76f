"""A synthetic run directory: smooth images and maps, rows and metrics that look like those of a real run."""

import json
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

METHODS = ("sep_pos", "mat", "sep_neg")
WEIGHTS = {"sep_pos": 3000.0, "mat": 0.0, "sep_neg": -300.0}


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], size: int, waves: int = 4) -> np.ndarray:
    """Random fields (*shape, size, size), a sum of a few plane waves, scaled to [0, 1]."""
    y, x = np.mgrid[0:size, 0:size] / size
    field = np.zeros((*shape, size, size))
    for _ in range(waves):
        fx, fy = rng.uniform(-3, 3, (2, *shape, 1, 1))
        field += np.sin(2 * np.pi * (fx * x + fy * y) + rng.uniform(0, 6.3, (*shape, 1, 1)))
    low, high = field.min((-2, -1), keepdims=True), field.max((-2, -1), keepdims=True)
    return (field - low) / (high - low)


def _normalise(field: np.ndarray) -> np.ndarray:
    return field / field.sum((-2, -1), keepdims=True)


def make_rows(num_seeds: int = 3, size: int = 8, ends: dict[str, float] | None = None) -> list[dict]:
    """Rows in the format of result.json; `ends` sets the loss at the end per method."""
    rng = np.random.default_rng(1)
    ends = ends or {"sep_pos": 5.8e-4, "mat": 7.1e-4, "sep_neg": 7.9e-4}
    rows = []
    for method in METHODS:
        start = {"sep_pos": 8.2e-4, "mat": 11.4e-4, "sep_neg": 13.1e-4}[method]
        for seed in range(num_seeds):
            first, last = start * (1 + 0.02 * rng.normal()), ends[method] * (1 + 0.01 * rng.normal())
            rows.append(
                {
                    "method": method,
                    "seed": seed,
                    "sep_weight": WEIGHTS[method],
                    "sep_weight_scale_free": WEIGHTS[method] / size**4,
                    "clean_accuracy": 0.983 + 0.002 * rng.normal(),
                    "robust_accuracy": 0.735 + 0.008 * rng.normal(),
                    "explanation_loss_start": first,
                    "explanation_loss_end": last,
                    "relative_reduction": (first - last) / first,
                    "cosine_start": 0.45 + 0.01 * rng.normal(),
                    "cosine_end": 0.62 + 0.01 * rng.normal(),
                    "effective_pixels": {"sep_pos": 22.0, "mat": 20.1, "sep_neg": 18.7}[method] + 0.3 * rng.normal(),
                    "scale_free_loss_start": first * size**4,
                    "scale_free_loss_end": last * size**4,
                    "label_kept": 1.0,
                    "degraded": False,
                    "train_seconds": 12.0,
                    "evaluate_seconds": 3.0,
                }
            )
    return rows


def make_result(**changes) -> dict:
    """A result.json; keyword arguments replace its entries."""
    rows = changes.pop("rows", None) or make_rows()
    return {
        "format": 1,
        "experiment": "digits_sep",
        "config": {
            "dataset": "digits",
            "epochs": 25,
            "learning_rate": 0.05,
            "methods": list(METHODS),
            "data_dir": None,
            "resume": False,
        },
        "environment": {
            "jax": "0.10.2",
            "device": "cpu",
            "commit": "abc1234",
            "command": "python experiments/digits_sep.py --seeds=3",
        },
        "pairs": {
            "dataset": "digits",
            "split": "test",
            "victims": list(range(60)),
            "targets": list(range(60, 120)),
            "num_clusters": 10,
            "feature_network": "convnet",
            "seed": 0,
            "hash": "5f0c1d",
        },
        "rows": rows,
        "summary": [],
        **changes,
    }


def make_metrics(num_seeds: int = 3, num_epochs: int = 25) -> list[dict]:
    """Lines in the format of metrics.jsonl."""
    rng = np.random.default_rng(2)
    lines = []
    for method in METHODS:
        for seed in range(num_seeds):
            for epoch in range(1, num_epochs + 1):
                loss = 2.2 * np.exp(-epoch / 7) + 0.6 + 0.04 * rng.normal()
                line = {
                    "method": method,
                    "seed": seed,
                    "epoch": epoch,
                    "step": 10 * epoch,
                    "loss": loss,
                    "cross_entropy": loss,
                    "accuracy": 0.8 - 0.7 * np.exp(-epoch / 6),
                    "learning_rate": 0.05,
                    "images_per_second": 4000.0,
                }
                if method != "mat":
                    term = 2e-5 * np.exp(-epoch / 30) * (0.5 if method == "sep_pos" else 1.5)
                    line |= {
                        "sep_penalty": term,
                        "sep_gradient_ratio": 0.3,
                        "loss": loss + WEIGHTS[method] * term,
                    }
                lines += [
                    line,
                    {
                        "method": method,
                        "seed": seed,
                        "epoch": epoch,
                        "step": 10 * epoch,
                        "validation_clean_accuracy": 0.98 - 0.6 * np.exp(-epoch / 3) + 0.005 * rng.normal(),
                        "validation_robust_accuracy": 0.74 - 0.6 * np.exp(-epoch / 6) + 0.01 * rng.normal(),
                    },
                ]
    return lines


def make_maps(
    size: int = 8, channels: int = 1, num_pairs: int = 12, num_steps: int = 100, num_courses: int = 0
) -> dict[str, np.ndarray]:
    """Arrays in the format of maps.npz; `num_courses` pairs step by step."""
    rng = np.random.default_rng(3)
    images = np.moveaxis(_smooth(rng, (2, num_pairs, channels), size), 2, -1).astype(np.float32)
    arrays = {
        "victim_images": images[0],
        "target_images": images[1],
        "victim_labels": np.arange(num_pairs) % 10,
        "target_labels": (np.arange(num_pairs) + 3) % 10,
        "class_names": np.array([f"class {i}" for i in range(10)]),
    }
    for method, power in zip(METHODS, (3, 4, 5), strict=True):
        victim = _normalise(_smooth(rng, (num_pairs,), size, 8) ** power)
        target = _normalise(_smooth(rng, (num_pairs,), size, 8) ** power)
        end = 0.45 * victim + 0.55 * target
        change = 0.15 * (2 * np.moveaxis(_smooth(rng, (num_pairs, channels), size), 1, -1) - 1)
        share = np.exp(-np.arange(num_steps + 1) / (num_steps / 5))[None, :, None, None]
        course = share[:, :, 0, 0] * (1 - 0.2) + 0.2
        arrays |= {
            f"{method}/manipulated": np.clip(images[0] + change, 0, 1),
            f"{method}/victim_map": victim,
            f"{method}/target_map": target,
            f"{method}/manipulated_map": end,
            f"{method}/losses": ((victim - target) ** 2).mean((1, 2))[:, None] * course,
            f"{method}/predicted": arrays["victim_labels"],
            f"{method}/manipulated_predicted": arrays["victim_labels"],
        }
        if num_courses:
            steps = np.unique(np.round(num_steps * np.array([0.0, 0.1, 0.4, 1.0])).astype(int))
            part = (steps / num_steps)[None, :, None, None]
            start, stop = images[0][:num_courses, None], arrays[f"{method}/manipulated"][:num_courses, None]
            arrays |= {
                "course_pairs": np.arange(num_courses),
                "course_steps": steps,
                f"{method}/course_images": start + part[..., None] * (stop - start),
                f"{method}/course_maps": victim[:num_courses, None] + part * (end - victim)[:num_courses, None],
                f"{method}/course_predicted": np.repeat(arrays["victim_labels"][:num_courses, None], steps.size, 1),
            }
    return arrays


def write_run(
    directory: pathlib.Path,
    *,
    result: dict | None = None,
    metrics: list[dict] | None = None,
    maps: dict[str, np.ndarray] | None = None,
) -> pathlib.Path:
    """Writes a run directory; a file whose content is None is not written."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "result.json").write_text(json.dumps(result if result is not None else make_result()))
    if metrics is not None:
        (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    if maps is not None:
        np.savez(directory / "maps.npz", **maps)
    return directory


@pytest.fixture(name="make_rows", scope="session")
def _make_rows() -> Callable[..., list[dict]]:
    return make_rows


@pytest.fixture(name="make_result", scope="session")
def _make_result() -> Callable[..., dict]:
    return make_result


@pytest.fixture(name="make_metrics", scope="session")
def _make_metrics() -> Callable[..., list[dict]]:
    return make_metrics


@pytest.fixture(name="make_maps", scope="session")
def _make_maps() -> Callable[..., dict[str, np.ndarray]]:
    return make_maps


@pytest.fixture(name="write_run", scope="session")
def _write_run() -> Callable[..., pathlib.Path]:
    return write_run

"""Results of studies with a planted effect, as result.json has them."""

from typing import Any

import numpy as np

WEIGHTS = {"standard": 0.0, "mat": 0.0, "sep_pos": 3000.0, "sep_neg": -300.0}


def planted_result(
    effect: float,
    *,
    num_seeds: int = 5,
    num_pairs: int = 40,
    noise: float = 1e-6,
    accuracy_shift: float = 0.0,
    num_images: int = 100_000,
    degraded: tuple[tuple[str, int], ...] = (),
    methods: tuple[str, ...] = ("standard", "mat", "sep_pos", "sep_neg"),
    seed: int = 0,
) -> dict[str, Any]:
    """Losses at the end of 1e-4, SEP_pos lower and SEP_neg and MAT higher than their baseline by `effect`; every
    number of a pair varies by `noise`, and with it the seeds and the images.

    accuracy_shift: of the robust accuracy of both SEP methods; degraded: (method, seed) of broken classifiers.
    """
    rng = np.random.default_rng(seed)
    victims = np.arange(num_pairs)
    targets = (victims + 1 + rng.integers(0, num_pairs - 1, num_pairs)) % num_pairs
    of_pairs = 1e-5 * rng.normal(size=num_pairs)
    shift = {"standard": -effect, "mat": 0.0, "sep_pos": -effect, "sep_neg": effect}
    rows = []
    for method in methods:
        for place in range(num_seeds):
            start = 2e-4 + of_pairs + noise * rng.normal(size=num_pairs)
            end = 1e-4 + of_pairs + shift[method] + noise * (rng.normal() + rng.normal(size=num_pairs))
            robust = 0.5 + accuracy_shift * method.startswith("sep") + 0.001 * rng.normal()
            per_pair = {
                "explanation_loss_start": start, "explanation_loss_end": end, "excess_start": start * 5e3,
                "excess_end": end * 5e3, "cosine_end": 0.9 - end * 3e3, "effective_pixels": 20 - end * 1e4,
            }  # fmt: skip
            rows.append(
                {
                    "method": method,
                    "seed": place,
                    "sep_weight": WEIGHTS[method],
                    "sep_weight_scale_free": WEIGHTS[method] / 64**2,
                    "clean_accuracy": 0.97,
                    "robust_accuracy": robust,
                    **{name: float(values.mean()) for name, values in per_pair.items()},
                    "relative_reduction": float(1 - end.mean() / start.mean()),
                    "scale_free_loss_start": float(start.mean()) * 64**2,
                    "scale_free_loss_end": float(end.mean()) * 64**2,
                    "cosine_start": 0.4,
                    "label_kept": 1.0,
                    "per_pair": {name: values.tolist() for name, values in per_pair.items()},
                    "degraded": (method, place) in degraded,
                }
            )
    pairs = {"dataset": "digits", "split": "test", "num_images": num_images, "hash": "5f0c1d"}
    return {
        "format": 1,
        "experiment": "mnist_sep",
        "config": {"methods": list(methods), "explanation_epsilon": 0.1},
        "environment": {},
        "pairs": {**pairs, "victims": victims.tolist(), "targets": targets.tolist()},
        "complete": True,
        "rows": rows,
        "summary": [],
    }

"""A synthetic landscape analysis: numbers, slices and planes that look like those of a real one."""

import json
import pathlib

import numpy as np

from jsep.report import landscape

METHODS = ("standard", "mat")
SCALARS = {
    "cross_entropy": ["rademacher", "gradient_sign", "attack", "eigenvector", "to_image"],
    "explanation_to_own": ["rademacher", "attack", "eigenvector", "to_image"],
}
PREDICTORS = ("explanation_loss_start", "effective_pixels", "map/local_lipschitz", "explanation_to_own/trace")
NUMBERS = (
    "top_eigenvalue", "trace", "frobenius_norm", "average_sharpness", "worst_sharpness"
)  # fmt: skip


def make_result(num_seeds=2):
    rng = np.random.default_rng(0)

    def entry(scale=1.0):
        return {"mean": scale * rng.uniform(1, 2), "standard_error": scale * 0.1, "median": scale, "num_finite": 6}

    rows = []
    for seed in range(num_seeds):
        for method in METHODS:
            numbers = {f"{scalar}/{name}": entry(1e-6) for scalar in SCALARS for name in NUMBERS}
            numbers |= {f"map/{name}": entry() for name in
                        ("jacobian_spectral_norm", "jacobian_frobenius_norm", "local_lipschitz")}  # fmt: skip
            numbers |= {name: entry(1e-6) for name in ("explanation_loss_start", "explanation_loss_end")}
            numbers["relative_reduction"] = entry(0.2)
            rows.append({
                "method": method, "seed": seed, "clean_accuracy": 0.5, "robust_accuracy": 0.2, "numbers": numbers,
                "num_non_finite": 1, "share_outside": 0.04, "seconds": 1.0,
            })  # fmt: skip
    correlations = [
        {"predictor": p, "outcome": o, "level": level, "rho": -0.25, "low": -0.5, "high": 0.1}
        for p in PREDICTORS for o in landscape.OUTCOME_NAMES for level in ("images", "models")
    ]  # fmt: skip
    return {
        "format": 1, "kind": "landscape", "experiment": "landscape <test>", "num_images": 6, "epsilon": 8 / 255,
        "norm": "linf", "directions": SCALARS, "rows": rows, "correlations": correlations,
        "config": {"num_directions": 3, "extent": 2.0, "outside": "clip", "plane_images": 2, "spectrum_probes": 1},
        "study": {"dataset": "cifar10", "model": "convnet"}, "environment": {"command": "python <script>"},
    }  # fmt: skip


def make_arrays(seed=1):
    rng = np.random.default_rng(seed)
    arrays = {"coordinates": np.linspace(-2, 2, 9), "plane_coordinates": np.linspace(-2, 2, 5)}
    for method in METHODS:
        for scalar, names in SCALARS.items():
            lines = rng.uniform(size=(6, 3 + len(names) - 1, 9)) * 1e-6
            lines[0, 0, 0] = np.nan
            plane = rng.uniform(size=(5, 5)) * 1e-6
            plane[0, 0] = np.inf
            arrays |= {
                f"{method}/{scalar}/lines": lines, f"{method}/{scalar}/plane": plane,
                f"{method}/{scalar}/spectrum_nodes": rng.normal(size=(6, 1, 4)) * 1e-5,
                f"{method}/{scalar}/spectrum_weights": np.full((6, 1, 4), 0.25),
            }  # fmt: skip
    return arrays


def write(path, *, seed=1, **changes):
    """A run directory with the result, changed as asked, and the arrays."""
    path = pathlib.Path(path)
    path.mkdir(parents=True, exist_ok=True)
    (path / "result.json").write_text(json.dumps({**make_result(), **changes}))
    np.savez_compressed(path / "maps.npz", **make_arrays(seed))
    return path

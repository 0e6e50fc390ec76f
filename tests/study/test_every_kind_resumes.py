"""Every kind of study, stopped between two of its units, goes on with them and ends as one that nobody stopped."""

import pathlib
from typing import Any

import numpy as np
import pytest
from tiny_study import CONFIG

from jsep import study

ANALYSES: dict[str, dict[str, Any]] = {
    "landscape": {
        "scalars": ("cross_entropy",), "directions": ("attack", "rademacher"), "num_directions": 1, "num_points": 3,
        "landscape_images": 3, "plane_images": 1, "plane_points": 2, "num_eigenvalues": 1, "num_matvecs": 2,
        "num_probes": 2, "spectrum_probes": 1, "sharpness_samples": 2, "sharpness_steps": 1, "num_bootstrap": 10,
    },
    "attack_strength": {
        "methods": ("mat", "sep_neg"), "num_images": 20, "epsilon": 0.1, "single_attacks": ("pgd",),
        "ensemble_attacks": ("apgd-ce",), "num_steps": 3, "pgd_steps": 2, "timed_images": 2, "chunk_size": 10,
    },
    "explanation_attacks": {"attacks": ("targeted",), "num_pairs": 2, "num_near_boundary": 2, "chunk_size": 2},
    "explanation_methods": {"methods": ("gradient", "guided_backprop"), "num_images": 2, "epochs": 1,
                            "train_images": 100},
}  # fmt: skip
TRAINING = {"methods": ("mat", "sep_neg"), "epochs": 1, "gallery_pairs": 0}
COMPOSED: dict[str, dict[str, Any]] = {
    "precision": TRAINING | {"methods": ("mat",)},
    "methods_table": TRAINING | {"explanations": ("gradient", "gradient_x_input")},
    "trades_landscape": ANALYSES["landscape"] | TRAINING | {"methods": ("trades",), "trades_betas": ("0", "6")},
}  # fmt: skip
OWN = ("pairs_file", "seconds", "train_seconds", "evaluate_seconds", "milliseconds", "timings", "environment")


def comparable(value: Any) -> Any:
    """Without what a clock says, and the paths of the run itself."""
    if isinstance(value, dict):
        return {name: comparable(each) for name, each in value.items() if name not in OWN}
    return [comparable(each) for each in value] if isinstance(value, list) else value


def check(config: study.Configuration, path: pathlib.Path) -> None:
    whole = study.run(config, path / "whole")
    assert whole["complete"]
    assert (path / "whole" / "index.html").exists()
    units: list[str] = []

    def stop(what: str, record: dict[str, Any]) -> None:
        if "unit" in record:
            units.append(f"{record['of']} {record['unit']}")
            first = units[0].split()[0]
            if record["of"] == first and record["unit"] == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run(config, path / "run", on_progress=stop)
    assert study.state_of(path / "run", config) == "begun"
    seen: list[str] = []
    resumed = study.run(
        config, path / "run", resume=True, on_progress=lambda what, record: seen.append(str(record.get("unit")))
    )
    assert comparable(resumed) == comparable(whole)
    assert study.state_of(path / "run", config) == "finished"
    if (path / "whole" / "maps.npz").exists():
        with np.load(path / "whole" / "maps.npz") as ours, np.load(path / "run" / "maps.npz") as theirs:
            assert sorted(ours) == sorted(theirs)
            for name in ours:
                np.testing.assert_array_equal(ours[name], theirs[name])
    assert study.run(config, path / "run", resume=True) == resumed, "a finished run is only drawn again"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [n if n in ("landscape", "attack_strength") else pytest.param(n, marks=pytest.mark.long) for n in ANALYSES],
)
def test_analysis_goes_on_where_it_was(name: str, finished: Any, tmp_path: pathlib.Path) -> None:
    kind, models = study.STUDIES[name].config, str(finished[0])
    known = study.settings_of(kind)
    given = {"models": models if name == "attack_strength" else (models,), "models_dir": models}
    check(kind.of(**ANALYSES[name], **{key: value for key, value in given.items() if key in known}), tmp_path)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", COMPOSED)
def test_study_of_several_studies_goes_on_where_it_was(name: str, tmp_path: pathlib.Path) -> None:
    kind = study.STUDIES[name].config
    check(CONFIG.as_a(kind, **COMPOSED[name]), tmp_path)

"""Every model attacked with every explanation method."""

import json

import pytest

from jsep import study
from jsep.checks import InputError


@pytest.mark.slow
def test_cross_method_study_measures_every_model_with_every_method(finished, tmp_path):
    run_dir, result, _ = finished
    config = study.CrossMethodConfig.of(study_dirs=(str(run_dir),), methods=("gradient_x_input", "gradient"))
    found = study.run(config, tmp_path / "run")
    assert (tmp_path / "run" / "cross.png").exists()
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == found
    cells = {(row["method"], row["explained_by"]): row for row in found["rows"]}
    assert len(cells) == 4
    for row in result["rows"]:
        # The method that the study itself attacked, on its own pairs and with its own key: the same numbers.
        own = cells[row["method"], "gradient_x_input"]
        for name in (
            "explanation_loss_start",
            "explanation_loss_end",
            "one_minus_concordance_end",
            "clean_accuracy",
            "robust_accuracy",
        ):
            assert own[name] == pytest.approx(row[name], rel=1e-4), name
        other = cells[row["method"], "gradient"]
        assert other["explanation_loss_start"] != pytest.approx(own["explanation_loss_start"], rel=1e-3)
    # Stopped before its last attack, it goes on from there.
    asked = []

    def stop_before_the_last(what, record):
        if record.get("unit") == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run(config, tmp_path / "other", on_progress=stop_before_the_last)
    resumed = study.run(
        config, tmp_path / "other", resume=True, on_progress=lambda what, record: asked.append((what, record))
    )
    assert [record["unit"] for _, record in asked if record.get("of") == "attack"] == [3]
    for name in ("rows", "pairs", "complete"):
        assert resumed[name] == found[name]


def test_cross_method_study_refuses_bad_input(tmp_path):
    with pytest.raises(InputError, match="'rise' has no derivative"):
        study.CrossMethodConfig.of(methods=("rise",))
    with pytest.raises(InputError, match="did you mean 'gradient'"):
        study.CrossMethodConfig.of(methods=("gradients",))
    with pytest.raises(InputError, match="must name at least one each"):
        study.CrossMethodConfig.of(study_dirs=())
    with pytest.raises(InputError, match="holds no study"):
        study.run(study.CrossMethodConfig.of(study_dirs=(str(tmp_path),)), tmp_path / "none")
    assert not (tmp_path / "none").exists()

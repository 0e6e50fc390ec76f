"""The configurations of the landscape analyses."""

import pytest

from jsep.checks import InputError
from jsep.study import LandscapeConfig, TradesLandscapeConfig


def test_loss_to_the_own_map_has_no_gradient_direction():
    config = LandscapeConfig.of()
    assert "gradient_sign" in config.analysis.directions_of("explanation_to_target")
    assert "gradient_sign" not in config.analysis.directions_of("explanation_to_own")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": ()}, "models names no run directory"),
        ({"scalars": ("cross_entropi",)}, "unknown scalars 'cross_entropi'.*did you mean 'cross_entropy'"),
        ({"directions": ("attack", "attack")}, "expected one or more different directions, got attack, attack"),
        ({"landscape_epsilon": 8.0}, "landscape_epsilon must be in .* did you mean 8/255"),
        ({"landscape_epsilon": 0.0}, "landscape_epsilon must be a number > 0"),
        ({"extent": -1.0}, "extent must be a number > 0"),
        ({"num_points": 1}, "num_points must be an integer >= 2"),
        ({"num_eigenvalues": 5, "num_matvecs": 4}, "num_eigenvalues must be at most num_matvecs = 4, got 5"),
        ({"out_of_range": "cut"}, "unknown out_of_range 'cut'"),
    ],
)
def test_bad_settings_are_input_errors(change, message):
    with pytest.raises(InputError, match=message):
        LandscapeConfig.of(**change)


def test_sweep_makes_one_study_a_weight():
    config = TradesLandscapeConfig.of(trades_betas=("0.5", "6"), epochs=3)
    study = config.study_config(0.5)
    assert (study.objective.trades_beta, study.training.epochs, study.methods) == (0.5, 3, ("trades",))
    assert study.train_config("trades", 64).objective_settings.trades_beta == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trades_betas": ("1",)}, "trades_betas must be two or more different weights"),
        ({"trades_betas": ("1", "x")}, "trades_betas must be numbers >= 0, got 'x'"),
        ({"trades_betas": ("1", "-1")}, "trades_betas must be numbers >= 0, got '-1'"),
        ({"methods": ("mat",)}, "the sweep trains trades alone, got methods mat"),
        ({"num_probes": 1}, "num_probes must be an integer >= 2"),
        ({"epochs": 0}, "epochs must be an integer >= 1"),
    ],
)
def test_bad_sweep_is_an_input_error(change, message):
    with pytest.raises(InputError, match=message):
        TradesLandscapeConfig.of(**change)

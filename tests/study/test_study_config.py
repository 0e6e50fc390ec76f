"""The configuration of a study: checks, weights, flagfile, comparison."""

import numpy as np
import pytest

from jsep import attack, study, train
from jsep.checks import InputError
from jsep.renamed import RENAMED
from jsep.study.configuration import differences
from jsep.study.methods import reference_of


def test_sep_weight_has_the_sign_of_the_method_and_the_unit_of_the_config():
    config = study.StudyConfig.of(sep_weight_pos=50000.0, sep_weight_neg=-3000.0)
    assert [config.sep_weight(m, 1024) for m in ("standard", "mat", "sep_pos", "sep_neg")] == [0, 0, 50000, -3000]
    scale_free = config.replace(sep_weight_pos=0.05, sep_weight_unit="scale_free")
    assert scale_free.sep_weight("sep_pos", 1024) == pytest.approx(0.05 * 1024**2)


def test_every_method_has_a_training_configuration():
    config = study.StudyConfig.of(
        regulariser_weight=0.5, regulariser_top_k=10, regulariser_num_gaps=5, sep_warmup_epochs=2
    )
    for name, method in study.training_methods().items():
        made = config.train_config(name, num_pixels=64)
        assert made.objective == method.objective
        assert np.sign(made.sep_weight) == method.sep_sign
        assert (made.regulariser.name if made.regulariser else None) == method.regulariser
        assert made.regulariser_weight == 0.5 * bool(method.regulariser)
    r2et = config.train_config("mat_r2et", num_pixels=64).regulariser
    assert (r2et.top_k, r2et.num_gaps, r2et.epsilon, r2et.num_steps) == (
        10,
        5,
        config.budget.epsilon,
        config.attack.num_steps,
    )
    assert config.train_config("trades_sep_neg", num_pixels=64).sep_warmup_epochs == 2


def test_methods_are_every_objective_alone_with_sep_and_with_each_regulariser():
    found = study.training_methods()
    for objective in train.OBJECTIVES:
        terms = ("sep_pos", "sep_neg", *train.EXPLANATION_REGULARISERS)
        assert found[objective].baseline is None
        assert {found[f"{objective}_{term}"].baseline for term in terms} == {objective}
    assert found["sep_pos"] == found["mat_sep_pos"]
    assert found["sep_neg"] == found["mat_sep_neg"]
    assert study.training_method("mat_lga@0.3").baseline == "mat"
    with pytest.raises(InputError, match="one or more different names"):
        study.StudyConfig.of(methods=("sep_pos", "mat_sep_pos"))


@pytest.mark.parametrize(
    ("methods", "references"),
    [
        (("standard", "mat", "sep_pos", "mat_lga@1"), ("mat", None, "mat", "mat")),
        (("mat", "trades", "trades_sep_neg"), (None, "mat", "trades")),
        (("mat", "trades_sep_neg", "trades@6"), (None, "mat", "mat")),
        (("trades", "trades_sep_pos"), (None, "trades")),
        (("standard", "sep_neg"), (None, None)),
    ],
)
def test_reference_is_the_baseline_or_else_the_first_adversarial_objective(methods, references):
    assert tuple(reference_of(method, methods) for method in methods) == references


def test_configuration_under_older_names_is_the_same():
    config = study.StudyConfig.of(regulariser_weight=0.3, regulariser_top_k=7, regulariser_num_gaps=3)
    older = {new: old for old, new in RENAMED.items()}
    stored = {older.get(name, name): value for name, value in config.as_dict().items()}
    assert "rival_weight" in stored
    assert study.StudyConfig.from_dict(stored) == config
    assert differences(stored, config) == []
    assert differences(stored, config.replace(regulariser_weight=1.0)) == ["regulariser_weight (0.3 there, 1.0 now)"]


def test_method_brings_its_own_weight_with_the_sign_of_its_kind():
    config = study.StudyConfig.of(regulariser_weight=0.5, trades_beta=6.0)
    assert config.sep_weight("sep_neg@200", 64) == -200
    assert config.sep_weight("trades_sep_pos@2e4", 64) == 20000
    assert config.train_config("trades@0.3", 64).objective_settings.trades_beta == 0.3
    assert config.train_config("trades@0", 64).objective_settings.trades_beta == 0.0
    assert config.train_config("trades_sep_pos@3", 64).objective_settings.trades_beta == 6.0
    lga = config.train_config("mat_lga@0.3", 64)
    assert (lga.regulariser.name, lga.regulariser_weight, lga.sep_weight) == ("lga", 0.3, 0.0)
    assert config.train_config("mat_lga", 64).regulariser_weight == 0.5


def test_options_of_an_explanation_reach_the_attack_and_the_sep_term():
    config = study.StudyConfig.of(
        explanation_method="smooth_grad", explanation_options=("num_samples=64", "sigma=1/4"),
        sep_method="integrated_gradients", sep_options=("num_steps=8",), sep_gradient="reverse",
    )  # fmt: skip
    assert config.explanation_attack().method_options == (("num_samples", 64), ("sigma", 0.25))
    assert config.train_config("sep_pos", 64).sep.method_options == (("num_steps", 8),)
    assert config.train_config("sep_pos", 64).sep.describe()["method_options"] == (("num_steps", 8),)
    assert "method_options" not in study.StudyConfig.of().train_config("sep_pos", 64).sep.describe()
    assert study.StudyConfig.from_dict(config.as_dict()) == config
    assert "--explanation_options=num_samples=64,sigma=1/4" in config.as_flagfile().splitlines()


def test_flags_and_options_are_the_settings_of_the_explanation_attack():
    config = study.StudyConfig.of(
        explanation_num_steps=7, explanation_epsilon=0.1, explanation_attack_options=("num_starts=3", "repair=true")
    )
    made = config.explanation_attack()
    assert made.settings == attack.TargetedConfig(num_steps=7, num_starts=3, repair=True)
    assert made.total_steps == 21
    ensemble = config.replace(explanation_attack_kind="auto", explanation_version="fast", explanation_attack_options=())
    assert ensemble.explanation_attack().settings == attack.AutoConfig("fast")
    searched = config.replace(explanation_attack_kind="black_box", explanation_attack_options=("search=random_search",))
    assert searched.explanation_attack().settings == attack.BlackBoxConfig("random_search", num_steps=7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"explanation_method": "smooth_grad", "explanation_options": ("num_sample=3",)},
            "unknown option of explanation method 'smooth_grad' 'num_sample': expected one of sigma, num_samples, "
            "chunk_size; did you mean 'num_samples'?",
        ),
        ({"explanation_options": ("sigma=1",)}, "explanation method 'gradient_x_input' has no options, got 'sigma=1'"),
        (
            {"explanation_method": "rise", "explanation_options": ("grid",), "explanation_attacked_method": "gradient"},
            "options of explanation method 'rise' are written name=value,name=value; got 'grid'",
        ),
        (
            {"explanation_method": "smooth_grad", "explanation_options": ("num_samples=few",)},
            "option num_samples of explanation method 'smooth_grad': expected a whole number of at most 1000000000, "
            "got 'few'",
        ),
        (
            {"explanation_method": "smooth_grad", "explanation_options": ("sigma=1", "sigma=2")},
            "option sigma of explanation method 'smooth_grad' is given twice",
        ),
        ({"sep_method": "integrated_gradients", "sep_options": ("steps=3",)}, "did you mean 'num_steps'"),
        ({"explanation_attack_kind": "autos"}, "unknown explanation attack 'autos'"),
        (
            {"explanation_attack_options": ("repairs=true",)},
            "unknown option of explanation attack 'targeted' 'repairs': expected one of num_starts, repair",
        ),
        ({"objective_options": ("beta=3",)}, "mat has no options, got 'beta=3'"),
    ],
)
def test_bad_option_is_refused_with_one_line(changes, message):
    with pytest.raises(InputError) as caught:
        study.StudyConfig.of(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_average_and_precision_are_of_the_models_and_not_of_the_feature_network():
    config = study.StudyConfig.of(ema_decay=0.99, precision="bfloat16")
    made = config.train_config("mat", 64)
    assert (made.ema_decay, made.precision) == (0.99, "bfloat16")
    features = config.feature_train_config()
    assert (features.ema_decay, features.precision) == (0.0, "float32")


def test_maps_collapse_below_a_share_of_all_pixels():
    rule = study.StudyConfig.of(on_collapse="stop", collapse_share=0.05).monitoring.collapse_rule(1000)
    assert (rule.action, rule.min_effective_pixels) == ("stop", 50.0)


def test_flagfile_sets_every_field_that_has_a_value():
    config = study.StudyConfig.of(methods=("mat", "sep_pos"), augment=True)
    lines = config.as_flagfile().splitlines()
    assert "--methods=mat,sep_pos" in lines
    assert "--augment=true" in lines
    named = {line[2:].split("=")[0] for line in lines}
    assert named == {name for name, value in config.as_dict().items() if value is not None}


def test_differences_name_the_changed_fields_but_not_where_the_data_lie():
    config = study.StudyConfig.of()
    assert differences(config.as_dict(), config.replace(data_dir="elsewhere", chunk_size=1)) == []
    assert differences(config.as_dict(), config.replace(epochs=3)) == ["epochs (25 there, 3 now)"]


def test_run_begun_before_a_setting_existed_had_its_default():
    config = study.StudyConfig.of()
    stored = {name: value for name, value in config.as_dict().items() if name != "explanation_attack_kind"}
    assert differences(stored, config) == []
    changed = config.replace(explanation_attack_kind="auto")
    assert differences(stored, changed) == ["explanation_attack_kind ('targeted' there, 'auto' now)"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "cifar"}, "did you mean 'cifar10'"),
        ({"model": "resnet"}, "expected one of convnet, resnet18"),
        ({"methods": ("mat", "seppos")}, "did you mean 'sep_pos'"),
        ({"methods": ()}, "one or more different names"),
        ({"methods": ("mat", "mat")}, "one or more different names"),
        ({"explanation_method": "gradients"}, "did you mean 'gradient'"),
        ({"epsilon": 8.0}, "did you mean 8/255"),
        ({"epochs": 0}, "epochs must be an integer >= 1, got 0"),
        ({"num_pairs": -1}, "num_pairs must be an integer >= 1, got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be a number > 0"),
        ({"sep_weight_neg": 5.0}, "sep_weight_neg must be a number < 0, got 5.0"),
        ({"sep_weight_unit": "pixels"}, "expected one of paper, scale_free"),
        ({"schedule": "step"}, "unknown schedule"),
        ({"explanation_epsilon": 2.0}, "epsilon must be in"),
        ({"methods": ("mat_curve",)}, "did you mean 'mat_cure'"),
        ({"methods": ("mat@3",)}, "method 'mat' has no weight, got 'mat@3'"),
        ({"methods": ("sep_pos@-3",)}, "must be a number > 0, such as sep_pos@1, got 'sep_pos@-3'"),
        ({"methods": ("mat_lga@0",)}, "must be a number > 0, such as mat_lga@1"),
        ({"methods": ("trades@six",)}, "must be a number > 0, such as trades@1, got 'trades@six'"),
        ({"ema_decay": 1.0}, "ema_decay must be in [0, 1)"),
        ({"precision": "float16"}, "expected one of float32, bfloat16"),
        ({"evaluated_checkpoint": "newest"}, "expected one of last, best"),
        ({"on_collapse": "halt"}, "expected one of ignore, flag, stop"),
        ({"probe_images": 1}, "probe_images must be an integer >= 2"),
        ({"methods": ("mat_r2et",), "regulariser_num_gaps": 200}, "num_gaps must be at most top_k"),
    ],
)
def test_bad_value_is_refused_with_one_line(changes, message):
    with pytest.raises(InputError) as caught:
        study.StudyConfig.of(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_budget_in_tests_is_that_of_training_unless_given():
    assert study.StudyConfig.of(epsilon=0.1).budget_in_tests == 0.1
    config = study.StudyConfig.of(epsilon=0.1, test_epsilon=0.3)
    assert (config.budget_in_tests, config.train_config("mat", 64).attack.epsilon) == (0.3, 0.1)
    assert study.StudyConfig.of(epsilon=0.1, test_epsilon=0.0).budget_in_tests == 0
    with pytest.raises(InputError, match=r"test_epsilon must be in \[0, 1\].*did you mean 8/255"):
        study.StudyConfig.of(test_epsilon=8)

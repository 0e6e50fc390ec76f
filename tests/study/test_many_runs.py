"""Results over many runs: gathered only where they can be compared, planted trends and correlations found."""

import json

import numpy as np
import pytest

from jsep import record, report, study
from jsep.checks import InputError
from jsep.study.correlation import correlate, setting_means
from jsep.study.finished_studies import read_finished

BASE = study.StudyConfig.of(sep_weight_unit="scale_free", sep_weight_pos=0.5, sep_weight_neg=-0.5)
PAIRS = {"dataset": "digits", "split": "test", "hash": "abc", "victims": [1, 2], "targets": [3, 4]}


def row(method, seed, *, weight=0.0, **values):
    """A row whose explanation robustness follows the weight, and whose robust accuracy does not."""
    rng = np.random.default_rng([seed, int(1e6 * abs(weight))])
    noise = 0.001 * rng.normal()
    return {
        "method": method, "seed": seed, "sep_weight": weight * 4096, "sep_weight_scale_free": weight,
        "clean_accuracy": 0.97, "robust_accuracy": 0.67 + noise, "scale_free_loss_start": 5 - weight,
        "scale_free_loss_end": 3 - 0.1 * weight, "relative_reduction": 0.4 - 0.1 * weight, "cosine_start": 0.4,
        "cosine_end": 0.6, "effective_pixels": 14 + weight, "one_minus_concordance_start": 0.7,
        "one_minus_concordance_end": 0.5 + 0.05 * weight,
        "degraded": False, "per_pair": {"cosine_end": [0.6, 0.6]}, **values,
    }  # fmt: skip


def write(directory, rows, config=BASE, **changes):
    directory.mkdir(parents=True)
    methods = tuple(dict.fromkeys(each["method"] for each in rows))
    result = {
        "format": 1, "complete": True, "config": config.replace(methods=methods).as_dict(),
        "environment": {"command": "python x.py", "commit": "abc", "seconds": 2.0}, "pairs": PAIRS, "rows": rows,
    }  # fmt: skip
    (directory / "result.json").write_text(json.dumps(result | changes))


@pytest.fixture
def sweep_dir(tmp_path):
    """MAT, four weights of two seeds each, of which one is broken, and two regularisers."""
    write(tmp_path / "mat", [row("mat", seed) for seed in (0, 1)])
    for weight in (-2.0, -0.5, 0.1, 0.5, 1.0, 2.0):
        broken = {"clean_accuracy": 0.9} if weight == -2 else {}
        method = "sep_pos" if weight > 0 else "sep_neg"
        write(tmp_path / f"w{weight}", [row(method, seed, weight=weight, **broken) for seed in (0, 1)])
    wide = BASE.replace(epsilon=0.1, test_epsilon=BASE.budget.epsilon, regulariser_weight=3.0)
    write(tmp_path / "wide", [row("mat", 0), row("mat_lga", 0)], wide)
    (tmp_path / "logs").mkdir()
    return tmp_path


def test_models_are_gathered_with_family_setting_and_the_rule_of_degraded_ones(sweep_dir):
    found = read_finished((f"{sweep_dir}/*",), sweep_dir / "mat")
    assert found.left_out == ()
    by_setting = {each["setting"]: each for each in found.rows}
    assert list(by_setting) == [
        "mat", "mat, epsilon 0.1", "sep_neg -2", "sep_neg -0.5", "sep_pos +0.1", "sep_pos +0.5", "sep_pos +1",
        "sep_pos +2", "mat_lga, epsilon 0.1, regulariser_weight 3",
    ]  # fmt: skip
    assert [name for name, each in by_setting.items() if each["degraded"]] == ["sep_neg -2"]
    assert by_setting["mat_lga, epsilon 0.1, regulariser_weight 3"]["family"] == "lga"
    assert "per_pair" not in found.rows[0]
    # MAT with another budget counts as degraded by the same rule, against the reference with the same seed.
    write(sweep_dir / "broken", [row("mat", 1, clean_accuracy=0.915)], BASE.replace(epochs=1))
    again = read_finished((f"{sweep_dir}/broken",), sweep_dir / "mat")
    assert [each["degraded"] for each in again.rows] == [True]


def test_runs_that_cannot_be_compared_are_refused_or_told(sweep_dir):
    patterns = (f"{sweep_dir}/*",)
    write(sweep_dir / "half", [row("mat", 0)], complete=False)
    assert read_finished(patterns, sweep_dir / "mat").left_out == (
        f"{sweep_dir}/half is not finished; continue it with resume=True",
    )
    write(sweep_dir / "z_other_budget", [row("mat", 0)], BASE.replace(epsilon=0.2))
    with pytest.raises(InputError, match="z_other_budget and .*mat were judged differently .budget_in_tests 0.2 and"):
        read_finished(patterns, sweep_dir / "mat")
    write(sweep_dir / "other_pairs", [row("mat", 0)], pairs=PAIRS | {"hash": "xyz"})
    with pytest.raises(InputError, match="other_pairs was tested on other pairs"):
        read_finished((f"{sweep_dir}/other_pairs",), sweep_dir / "mat")
    with pytest.raises(InputError, match="no finished study in"):
        read_finished((f"{sweep_dir}/nothing*",), sweep_dir / "mat")
    with pytest.raises(InputError, match="has no model of mat or the like"):
        read_finished((f"{sweep_dir}/mat",), sweep_dir / "w2.0")


def test_weight_sweep_tells_trend_breaking_and_confound(sweep_dir, tmp_path):
    config = study.WeightSweepConfig.of(
        experiment="x", study_dirs=(f"{sweep_dir}/mat", f"{sweep_dir}/w*.*"), reference_dir=str(sweep_dir / "mat"),
        num_resamples=50,
    )  # fmt: skip
    result = study.run(config, tmp_path / "out")
    assert [(entry["weight"], entry["num_degraded"]) for entry in result["weights"]] == [
        (-2, 2), (-0.5, 0), (0, 0), (0.1, 0), (0.5, 0), (1, 0), (2, 0)
    ]  # fmt: skip
    assert result["weights"][1]["scale_free_loss_end"]["mean"] == pytest.approx(3.05)
    both = {trend["metric"]: trend for trend in result["trends"] if trend["side"] == "both"}
    # The degraded weight takes no part; among the others the trends are as planted.
    assert both["scale_free_loss_end"]["num_weights"] == 6
    assert both["scale_free_loss_end"]["estimate"] == pytest.approx(-1)
    assert both["one_minus_concordance_end"]["estimate"] == pytest.approx(1)
    weights, trends, *claims = report.tables_of(result)
    assert [row[2].text for row in weights.rows] == ["2", "", "", "", "", "", ""], "broken at -2 alone"
    assert trends.columns[1].heading == "all weights (6)"
    by_metric = {row[0].text.rpartition(" and ")[2]: row[3].text for table in claims for row in table.rows}
    assert by_metric["loss at end"] == record.HOLDS
    assert by_metric["1 − concordance end"] != record.HOLDS
    assert 10_000 < (tmp_path / "out" / "weights.png").stat().st_size < 400 * 1024
    with pytest.raises(InputError, match="expected at least 3 SEP weights"):
        study.run(config.replace(study_dirs=(f"{sweep_dir}/mat",)), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def planted(count, link, seed=0):
    """Settings of two seeds; robust accuracy and the loss at the end go together by `link`, the cosine against it."""
    rng = np.random.default_rng(seed)
    rows = []
    for place in range(count):
        robust = rng.normal()
        loss = link * robust + 0.1 * rng.normal()
        for own in (0, 1):
            values = {
                "robust_accuracy": 0.6 + 0.05 * robust + 1e-3 * rng.normal(),
                "scale_free_loss_end": 3 + loss,
                "cosine_end": 0.6 + 0.05 * loss,
                "relative_reduction": 0.4 + 0.05 * rng.normal(),
                "one_minus_concordance_end": 0.5 + 0.05 * rng.normal(),
                "clean_accuracy": 0.97 + 0.003 * rng.normal(),
                "effective_pixels": 14 + 0.3 * rng.normal(),
            }
            method = ("mat", "trades", "standard")[place % 3]
            rows.append(row(method, own) | values | {"setting": f"s{place}", "family": method})
    return rows


def test_correlations_are_oriented_and_found():
    rows = planted(24, 1.0)
    rows[0] |= {"degraded": True, "scale_free_loss_end": 1000.0}
    found = correlate(rows, num_resamples=20)
    main = {
        e["measure"]: e
        for e in found
        if (e["subset"], e["unit"], e["with_degraded"]) == ("all models", "models", False)
    }
    # A higher loss at the end is more robust, a higher cosine less: opposite answers from the same models.
    assert main["scale_free_loss_end"]["spearman"]["low"] > 0.8
    assert main["cosine_end"]["spearman"]["high"] < -0.8
    assert main["cosine_end"]["partial_spearman"]["high"] < -0.6
    assert abs(main["one_minus_concordance_end"]["spearman"]["estimate"]) < 0.5
    assert (main["cosine_end"]["num_models"], main["cosine_end"]["num_settings"]) == (47, 24)
    assert {e["num_models"] for e in found if e["with_degraded"]} == {48}
    means = next(e for e in found if e["unit"] == "settings")
    assert means["num_models"] == 24
    left_out = [e for e in found if e["subset"] == "without trades"]
    assert left_out[0]["num_models"] == 31
    assert "pearson" not in left_out[0]
    # Every family is left out once; a subset without enough models is not correlated.
    assert {e["subset"] for e in found} >= {"without mat", "without standard", "without SEP"}


def test_means_of_settings_are_over_their_seeds():
    means = setting_means(
        [row("mat", 0, setting="a", family="mat"), row("mat", 1, setting="a", family="mat") | {"cosine_end": 0.8}]
    )
    assert len(means) == 1
    assert means[0]["cosine_end"] == pytest.approx(0.7)


def test_correlation_study_from_directories_says_what_it_found(tmp_path):
    write(tmp_path / "mat", [row("mat", seed) for seed in (0, 1)])
    for place in range(6):
        rows = [each for each in planted(6, 1.0) if each["setting"] == f"s{place}"]
        config = BASE.replace(epochs=30 + place)
        write(tmp_path / f"r{place}", [{**each, "method": "mat"} for each in rows], config)
    config = study.CorrelationConfig.of(
        experiment="x", study_dirs=(f"{tmp_path}/*",), reference_dir=str(tmp_path / "mat"), num_resamples=10
    )
    result = study.run(config, tmp_path / "out")
    text = report.format_table(result, style="markdown")
    assert "14 models of 7 settings" in text
    assert "| MAT, epochs 33 | 2 |" in text
    claims = report.tables_of(result)[1]
    assert {row[3].text for row in claims.rows} <= set(record.VERDICTS)
    assert 10_000 < (tmp_path / "out" / "correlation.png").stat().st_size < 400 * 1024
    few = config.replace(study_dirs=(f"{tmp_path}/mat",))
    with pytest.raises(InputError, match="at least 6 models that are not degraded, got 2 of 2"):
        study.run(few, tmp_path / "none")

"""A whole study at the smallest size: its files, its rows, its maps."""

import json

import jax
import numpy as np
import pytest
from tiny_study import CONFIG, records

from jsep import evaluate, models, record, study
from jsep.checks import InputError


def test_run_directory_holds_every_file(finished):
    run_dir, result, _ = finished
    names = {path.name for path in run_dir.iterdir()}
    assert names >= {
        "flags.flags", "config.json", "metrics.jsonl", "tensorboard", "checkpoints", "pairs.json", "maps.npz",
        "result.json", "index.html",
    }  # fmt: skip
    assert any(name.endswith(".png") for name in names)
    assert not [name for name in names if ".tmp" in name]
    assert json.loads((run_dir / "result.json").read_text()) == result


def test_rows_hold_plain_numbers_of_every_model(finished):
    _, result, _ = finished
    assert result["format"] == record.FORMAT
    assert result["complete"] is True
    assert [(row["method"], row["seed"]) for row in result["rows"]] == [("mat", 0), ("sep_neg", 0)]
    for row in result["rows"]:
        assert 0 <= row["robust_accuracy"] <= row["clean_accuracy"] <= 1
        assert 0 <= row["explanation_loss_end"] <= row["explanation_loss_start"] <= 2 / 64
        assert row["scale_free_loss_end"] == pytest.approx(64**2 * row["explanation_loss_end"])
        assert 1 <= row["effective_pixels"] <= 64
        assert row["label_kept"] == 1.0
    assert [row["sep_weight"] for row in result["rows"]] == [0.0, -300.0]


def test_rows_hold_the_accuracies_of_the_last_and_the_best_checkpoint(finished):
    run_dir, result, _ = finished
    for row in result["rows"]:
        logged = [r for r in records(run_dir) if r["method"] == row["method"] and "validation_robust_accuracy" in r]
        scores = [r["validation_robust_accuracy"] for r in logged]
        assert row["checkpoint"] == "last"
        assert row["best_epoch"] == 1 + int(np.argmax(scores))
        assert row["best_validation_robust_accuracy"] == pytest.approx(max(scores))
        assert (row["clean_accuracy"], row["robust_accuracy"]) == (
            row["last_clean_accuracy"], row["last_robust_accuracy"],
        )  # fmt: skip
        for which in ("last", "best"):
            loaded = study.load_trained(run_dir, which=which)
            variables = next(model.variables for model in loaded.trained if model.method == row["method"])
            clean, _ = evaluate.accuracies(
                jax.random.key(0), loaded.model_fn, variables, loaded.test, num_steps=0, chunk_size=30
            )
            assert clean == pytest.approx(row[f"{which}_clean_accuracy"])


@pytest.mark.slow
def test_rows_of_a_network_with_batch_normalisation_hold_its_accuracy_by_the_statistics_of_batches(
    finished, tmp_path, monkeypatch
):
    assert not any("batch_statistics_accuracy" in row for row in finished[1]["rows"])
    # One block in place of eight: the whole network takes minutes here.
    create, small = models.create, models.ResNet(num_classes=10, stage_sizes=(1,), width=4)
    monkeypatch.setattr(models, "create", lambda name, **how: small if name == "resnet18" else create(name, **how))
    config = CONFIG.replace(model="resnet18", methods=("mat",), epochs=1)
    (row,) = study.run(config, tmp_path / "run")["rows"]
    loaded = study.load_trained(tmp_path / "run")
    (trained,) = loaded.trained
    expected = evaluate.batch_statistics_accuracy(
        jax.random.fold_in(jax.random.key(trained.seed), 3),
        models.batch_fn(loaded.model),
        trained.variables,
        loaded.test,
        batch_size=config.training.batch_size,
    )
    assert row["batch_statistics_accuracy"] == pytest.approx(expected)
    assert "clean, batch statistics" in (tmp_path / "run" / "index.html").read_text()


def test_rows_hold_the_noise_sensitivity_and_the_step_of_a_collapse(finished):
    run_dir, result, _ = finished
    for row in result["rows"]:
        assert 0 < row["noise_sensitivity"] < 2
        assert 0 < row["noise_scale_free_loss"] < 2 * 64
        probes = [r for r in records(run_dir) if r["method"] == row["method"] and "probe_effective_pixels" in r]
        assert len(probes) == 2
        assert all(1 < probe["probe_effective_pixels"] < 64 for probe in probes)
        low = [probe["step"] for probe in probes if probe["probe_effective_pixels"] < 0.9 * 64]
        assert [probe["step"] for probe in probes if probe["collapsed"]] == low
        assert row["collapsed_step"] == low[0]


@pytest.mark.slow
def test_best_checkpoint_is_analysed_where_the_configuration_says_so(finished, tmp_path, monkeypatch):
    # The second epoch's look at the validation images is made worse than the first's.
    scores = iter([0.5, 0.25])
    real = evaluate.accuracies

    def accuracies(key, model_fn, variables, dataset, **settings):
        clean, robust = real(key, model_fn, variables, dataset, **settings)
        return (clean, next(scores)) if dataset.split == "validation" else (clean, robust)

    monkeypatch.setattr(evaluate, "accuracies", accuracies)
    config = CONFIG.replace(methods=("mat",), evaluated_checkpoint="best")
    (row,) = study.run(config, tmp_path / "run")["rows"]
    assert (row["best_epoch"], row["checkpoint"]) == (1, "best")
    assert row["clean_accuracy"] == row["best_clean_accuracy"]
    (last,) = (row for row in finished[1]["rows"] if row["method"] == "mat")
    assert row["last_clean_accuracy"] == last["last_clean_accuracy"]
    assert row["explanation_loss_start"] != last["explanation_loss_start"]
    best, last = (study.load_trained(tmp_path / "run", which=which).trained[0].variables for which in ("best", "last"))
    chosen = study.load_trained(tmp_path / "run").trained[0].variables
    jax.tree.map(np.testing.assert_array_equal, chosen, best)
    with pytest.raises(AssertionError):
        jax.tree.map(np.testing.assert_array_equal, chosen, last)
    with pytest.raises(InputError, match="unknown checkpoint 'newest': expected one of last, best"):
        study.load_trained(tmp_path / "run", which="newest")


def test_maps_file_holds_the_pairs_of_every_method(finished):
    run_dir, _, _ = finished
    with np.load(run_dir / "maps.npz") as maps:
        assert maps["victim_images"].shape == (5, 8, 8, 1)
        for method in ("mat", "sep_neg"):
            np.testing.assert_allclose(maps[f"{method}/manipulated_map"].sum((1, 2)), 1, rtol=1e-5)
            assert maps[f"{method}/losses"].shape == (5, 3)


def test_maps_file_holds_the_course_of_the_attack_on_a_few_pairs(finished):
    run_dir, _, _ = finished
    with np.load(run_dir / "maps.npz") as maps:
        pairs, steps = maps["course_pairs"], maps["course_steps"]
        np.testing.assert_array_equal(steps, [0, 1, 2])
        assert 1 <= len(pairs) <= CONFIG.pairs.gallery_pairs
        for method in CONFIG.methods:
            assert maps[f"{method}/course_images"].shape == (len(pairs), 3, 8, 8, 1)
            np.testing.assert_array_equal(maps[f"{method}/course_images"][:, 0], maps["victim_images"][pairs])
            np.testing.assert_allclose(
                maps[f"{method}/course_maps"][:, 0], maps[f"{method}/victim_map"][pairs], atol=1e-6
            )
            np.testing.assert_allclose(
                maps[f"{method}/course_losses"], maps[f"{method}/losses"][pairs], rtol=1e-3, atol=1e-9
            )


def test_rows_keep_single_pairs_and_images_so_that_both_can_be_drawn_anew(finished):
    _, result, loaded = finished
    assert result["format"] == record.FORMAT
    for row, typed in zip(result["rows"], record.Result.from_dict(result).rows, strict=True):
        assert np.mean(row["per_pair"]["explanation_loss_end"]) == pytest.approx(row["explanation_loss_end"], rel=1e-5)
        whole = row["concentration_end"] + row["concentration_target"] - row["overlap_end"]
        assert whole == pytest.approx(row["explanation_loss_end"], rel=1e-3)
        for name in ("clean_accuracy", "robust_accuracy"):
            assert len(typed.per_image[name]) == result["pairs"]["num_images"]
            assert typed.per_image[name].mean() == pytest.approx(row[name])
    # The maps of so small a network lie on few pixels, which degrades it.
    rows = [{**row, "degraded": False} for row in result["rows"]]
    findings = record.judge(record.Result.from_dict({**result, "rows": rows}))
    end = next(f for f in findings if f.claim.metric == "explanation_loss_end" and f.claim.method == "sep_neg")
    difference = result["rows"][1]["explanation_loss_end"] - result["rows"][0]["explanation_loss_end"]
    assert end.interval.estimate == pytest.approx(difference, rel=1e-3)
    assert end.verdict == record.UNKNOWN, "one seed"


def test_progress_reports_every_step_with_the_time_left(finished):
    _, _, seen = finished
    steps = [record["step"] for what, record in seen if what == "training mat, seed 0" and "loss" in record]
    assert steps == [1, 2, 3, 4]
    assert all(record["seconds_left"] >= 0 for _, record in seen if "loss" in record)


def test_too_few_images_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="batch_size must be at most the 64 training images"):
        study.run(CONFIG.replace(batch_size=65), tmp_path / "run")
    with pytest.raises(InputError, match="digits has 400 test images, got 5000"):
        study.run(CONFIG.replace(test_images=5000), tmp_path / "run")
    assert not (tmp_path / "run").exists()

"""A whole study at the smallest size: its files, its rows, its resume, what it refuses."""

import dataclasses
import functools
import json
import pathlib
import shutil
import warnings

import jax
import numpy as np
import pytest

from jsep import evaluate, explain, models, record, study
from jsep.checks import InputError
from jsep.study.methods import mark_degraded

RESULTS = pathlib.Path(__file__).parents[2] / "results"
CONFIG = study.StudyConfig(
    experiment="tiny",
    methods=("mat", "sep_neg"),
    num_seeds=1,
    train_images=64,
    validation_images=20,
    test_images=30,
    epochs=2,
    batch_size=32,
    optimizer="adamw",
    learning_rate=0.003,
    epsilon=0.1,
    alpha=0.05,
    num_steps=1,
    test_num_steps=1,
    sep_weight_neg=-300.0,
    sep_weight_pos=300.0,
    explanation_num_steps=2,
    num_clusters=3,
    num_pairs=5,
    feature_epochs=1,
    log_every=1,
    collapse_share=0.9,
)
TIMES = ("train_seconds", "evaluate_seconds")


def comparable(result):
    rows = [{key: value for key, value in row.items() if key not in TIMES} for row in result["rows"]]
    return {"rows": rows, "pairs": result["pairs"], "config": result["config"]}


def records(run_dir):
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    measured = lambda name: name == "images_per_second" or name.endswith("_mib")  # noqa: E731
    return [{k: v for k, v in json.loads(line).items() if not measured(k)} for line in lines]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("study") / "run"
    seen = []
    result = study.run(CONFIG, run_dir, on_progress=lambda what, record: seen.append((what, record)))
    return run_dir, result, seen


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
    config = dataclasses.replace(CONFIG, model="resnet18", methods=("mat",), epochs=1)
    (row,) = study.run(config, tmp_path / "run")["rows"]
    loaded = study.load_trained(tmp_path / "run")
    (trained,) = loaded.trained
    expected = evaluate.batch_statistics_accuracy(
        jax.random.fold_in(jax.random.key(trained.seed), 3),
        models.batch_fn(loaded.model),
        trained.variables,
        loaded.test,
        batch_size=config.batch_size,
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


def test_best_checkpoint_is_analysed_where_the_configuration_says_so(finished, tmp_path, monkeypatch):
    # The second epoch's look at the validation images is made worse than the first's.
    scores = iter([0.5, 0.25])
    real = evaluate.accuracies

    def accuracies(key, model_fn, variables, dataset, **settings):
        clean, robust = real(key, model_fn, variables, dataset, **settings)
        return (clean, next(scores)) if dataset.split == "validation" else (clean, robust)

    monkeypatch.setattr(evaluate, "accuracies", accuracies)
    config = dataclasses.replace(CONFIG, methods=("mat",), evaluated_checkpoint="best")
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
        assert 1 <= len(pairs) <= CONFIG.gallery_pairs
        for method in CONFIG.methods:
            assert maps[f"{method}/course_images"].shape == (len(pairs), 3, 8, 8, 1)
            np.testing.assert_array_equal(maps[f"{method}/course_images"][:, 0], maps["victim_images"][pairs])
            np.testing.assert_allclose(
                maps[f"{method}/course_maps"][:, 0], maps[f"{method}/victim_map"][pairs], atol=1e-6
            )
            np.testing.assert_allclose(
                maps[f"{method}/course_losses"], maps[f"{method}/losses"][pairs], rtol=1e-3, atol=1e-9
            )


def test_progress_reports_every_step_with_the_time_left(finished):
    _, _, seen = finished
    steps = [record["step"] for what, record in seen if what == "training mat, seed 0" and "loss" in record]
    assert steps == [1, 2, 3, 4]
    assert all(record["seconds_left"] >= 0 for _, record in seen if "loss" in record)


@pytest.mark.slow
def test_interrupted_and_resumed_equals_uninterrupted(finished, tmp_path):
    run_dir, expected, _ = finished

    class Killed(Exception):
        pass

    def kill(what, record):
        if what == "training sep_neg, seed 0" and record.get("step") == 3:
            raise Killed

    with pytest.raises(Killed):
        study.run(CONFIG, tmp_path / "run", on_progress=kill)
    resumed = study.run(CONFIG, tmp_path / "run", resume=True)
    assert comparable(resumed) == comparable(expected)
    assert records(tmp_path / "run") == records(run_dir)


def test_resume_of_a_finished_run_changes_no_number(finished, tmp_path):
    run_dir, expected, _ = finished
    shutil.copytree(run_dir, tmp_path / "run")
    assert comparable(study.run(CONFIG, tmp_path / "run", resume=True)) == comparable(expected)


def test_existing_run_is_refused_and_left_untouched(finished):
    run_dir, _, _ = finished
    before = (run_dir / "result.json").read_bytes()
    with pytest.raises(InputError, match="resume=True, replace it with overwrite=True"):
        study.run(CONFIG, run_dir)
    assert (run_dir / "result.json").read_bytes() == before


def test_resume_with_other_flags_names_them(finished):
    run_dir, _, _ = finished
    with pytest.raises(InputError, match=r"epochs \(2 there, 3 now\)"):
        study.run(dataclasses.replace(CONFIG, epochs=3), run_dir, resume=True)


def test_directory_that_is_no_run_is_never_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(InputError, match="not a run of jsep"):
        study.run(CONFIG, tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "three years"


def test_too_few_images_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="batch_size must be at most the 64 training images"):
        study.run(dataclasses.replace(CONFIG, batch_size=65), tmp_path / "run")
    with pytest.raises(InputError, match="digits has 400 test images, got 5000"):
        study.run(dataclasses.replace(CONFIG, test_images=5000), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_model_more_than_five_points_below_mat_is_degraded():
    rows = [
        {"method": method, "seed": seed, "clean_accuracy": accuracy}
        for method, seed, accuracy in (
            ("mat", 0, 0.9),
            ("sep_neg", 0, 0.849),
            ("sep_pos", 0, 0.851),
            ("sep_neg", 1, 0.1),
        )
    ]
    with warnings.catch_warnings():
        mark_degraded(rows)
    assert [row["degraded"] for row in rows] == [False, True, False, False]


def test_committed_studies_keep_their_marks_of_degraded_models():
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*/result.json"))]
    studies = [result["rows"] for result in results if "kind" not in result]
    assert len(studies) > 10
    for rows in studies:
        marks = [row["degraded"] for row in rows]
        mark_degraded(rows)
        assert [row["degraded"] for row in rows] == marks


def test_load_trained_gives_the_evaluated_models_back(finished):
    run_dir, result, _ = finished
    loaded = study.load_trained(run_dir)
    assert [(model.method, model.seed) for model in loaded.trained] == [("mat", 0), ("sep_neg", 0)]
    assert loaded.config == CONFIG
    assert loaded.pairs.as_dict() == result["pairs"]
    for model, row in zip(loaded.trained, result["rows"], strict=True):
        clean, _ = evaluate.accuracies(
            jax.random.key(0), loaded.model_fn, model.variables, loaded.test, num_steps=0, chunk_size=30
        )
        assert clean == pytest.approx(row["clean_accuracy"])
        with np.load(run_dir / "maps.npz") as maps:
            victim = maps["victim_images"][0]
            logits_fn = functools.partial(loaded.model_fn, model.variables)
            map_ = explain.make_map_fn("gradient_x_input", logits_fn, int(maps[f"{model.method}/predicted"][0]))(victim)
            np.testing.assert_allclose(map_, maps[f"{model.method}/victim_map"][0], rtol=1e-4, atol=1e-7)


def test_load_trained_says_what_is_missing(finished, tmp_path):
    with pytest.raises(InputError, match="holds no study"):
        study.load_trained(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(finished[0], copy)
    shutil.rmtree(copy / "checkpoints" / "sep_neg_seed0")
    with pytest.raises(InputError, match="no checkpoints of sep_neg_seed0"):
        study.load_trained(copy)


def test_kept_study_gives_its_models_back_as_float16_without_checkpoints(finished, tmp_path):
    kept = study.keep_study(finished[0], tmp_path / "kept")
    assert {path.name for path in kept.iterdir()} == {"weights", "config.json", "pairs.json", "result.json"}
    loaded, original = study.load_trained(kept), study.load_trained(finished[0])
    assert loaded.pairs == original.pairs
    for own, model in zip(original.trained, loaded.trained, strict=True):
        assert own.name == model.name
        for value, rounded in zip(jax.tree.leaves(own.variables), jax.tree.leaves(model.variables), strict=True):
            np.testing.assert_array_equal(rounded, np.asarray(value).astype(np.float16).astype(np.float32))


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
    findings = record.judge(record.Result.from_dict(result))
    end = next(f for f in findings if f.claim.metric == "explanation_loss_end" and f.claim.method == "sep_neg")
    difference = result["rows"][1]["explanation_loss_end"] - result["rows"][0]["explanation_loss_end"]
    assert end.interval.estimate == pytest.approx(difference, rel=1e-3)
    assert end.verdict == record.UNKNOWN, "one seed"


@pytest.mark.slow
def test_selection_study_attacks_every_model_on_the_same_draws(finished, tmp_path):
    run_dir, result, _ = finished
    settings = {
        "study_dir": str(run_dir), "selections": ("kmeans", "random"), "num_draws": 2, "num_pairs": 4,
        "cluster_counts": ("3",), "num_clusters": 3, "feature_networks": ("features", "mat", "pixels"),
    }  # fmt: skip
    found = study.run_selection(study.SelectionConfig(**settings), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == found
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"clusters.png", "draws.png", "maps.npz"}
    hashes = {}
    for draw in found["draws"]:
        hashes.setdefault((draw["selection"], draw["draw"]), set()).add(draw["hash"])
    assert len(found["draws"]) == 2 * 2 * 2
    assert all(len(each) == 1 for each in hashes.values()), "models of a draw were attacked on different pairs"
    assert len(set.union(*hashes.values())) == 4
    assert found["summary"]["methods"] == ["mat", "sep_neg"]
    # The study's own pairs are those of its own features, clusters and seed: the same selection again.
    trained = study.load_trained(run_dir)
    config = study.SelectionConfig(**settings)
    points = study.selection._points(config, trained, "features")
    again = evaluate.select_pairs(
        points, trained.test, num_clusters=CONFIG.num_clusters, num_pairs=CONFIG.num_pairs,
        feature_network=trained.pairs.feature_network, seed=CONFIG.seed,
    )  # fmt: skip
    assert again.hash == result["pairs"]["hash"]
    for entry in found["clusterings"]:
        assert entry["model"] in ("mat_seed0", "sep_neg_seed0")
        assert entry["loss_inter"] > 0
    assert len(found["clusterings"]) == 3 * 4 * 2
    # Stopped during its last but one attack, it goes on from there.
    for place in (6, 7):
        (tmp_path / "run" / "chunks" / f"chunk_{place:06d}.npz").unlink()
    asked = []
    resumed = study.run_selection(
        config, tmp_path / "run", resume=True, on_progress=lambda what, record: asked.append((what, record))
    )
    assert [record["unit"] for _, record in asked if record.get("of") == "attack"] == [6, 7]
    for part in ("draws", "clusterings", "summary"):
        assert resumed[part] == found[part]


def test_selection_study_refuses_bad_input_before_it_writes(finished, tmp_path):
    run_dir = str(finished[0])
    for change, message in [
        ({"study_dir": str(tmp_path)}, "holds no study"),
        ({"selections": ("kmean",)}, "did you mean 'kmeans'"),
        ({"cluster_counts": ("three",)}, "cluster_counts must be whole numbers >= 2, got three"),
        ({"num_draws": 0}, "num_draws must be an integer >= 1"),
        ({"feature_networks": ("resnet",)}, "unknown feature network 'resnet'"),
    ]:
        with pytest.raises(InputError, match=message):
            study.run_selection(study.SelectionConfig(**({"study_dir": run_dir} | change)), tmp_path / "none")
        assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_cross_method_study_measures_every_model_with_every_method(finished, tmp_path):
    run_dir, result, _ = finished
    config = study.CrossMethodConfig(study_dirs=(str(run_dir),), methods=("gradient_x_input", "gradient"))
    found = study.run_cross_method(config, tmp_path / "run")
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
        study.run_cross_method(config, tmp_path / "other", on_progress=stop_before_the_last)
    resumed = study.run_cross_method(
        config, tmp_path / "other", resume=True, on_progress=lambda what, record: asked.append((what, record))
    )
    assert [record["unit"] for _, record in asked if record.get("of") == "attack"] == [3]
    for name in ("rows", "pairs", "complete"):
        assert resumed[name] == found[name]


def test_cross_method_study_refuses_bad_input(tmp_path):
    with pytest.raises(InputError, match="'rise' has no derivative"):
        study.CrossMethodConfig(methods=("rise",))
    with pytest.raises(InputError, match="did you mean 'gradient'"):
        study.CrossMethodConfig(methods=("gradients",))
    with pytest.raises(InputError, match="must name at least one each"):
        study.CrossMethodConfig(study_dirs=())
    with pytest.raises(InputError, match="holds no study"):
        study.run_cross_method(study.CrossMethodConfig(study_dirs=(str(tmp_path),)), tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_study_that_starts_from_another_begins_with_its_models(finished, tmp_path):
    """Without a step to change them (learning rate 0) the models are those of the other study."""
    earlier, result, _ = finished
    same = dataclasses.replace(
        CONFIG, methods=("sep_pos",), start_from=str(earlier), start_method="mat", epochs=1, learning_rate=1e-30,
        weight_decay=0.0, pairs_file=str(earlier / "pairs.json"),
    )  # fmt: skip
    (row,) = study.run(same, tmp_path / "run")["rows"]
    (mat,) = (row for row in result["rows"] if row["method"] == "mat")
    for name in ("clean_accuracy", "robust_accuracy", "explanation_loss_start", "explanation_loss_end"):
        assert row[name] == pytest.approx(mat[name], rel=1e-5), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start_method": "standard"}, "has no model standard_seed0"),
        ({"num_seeds": 2}, "has no model mat_seed1"),
        ({"softplus_beta": 5.0}, "set the flags of the model alike"),
        ({"start_from": "nowhere"}, "nowhere holds no study that can be read"),
    ],
)
def test_start_that_does_not_fit_is_refused_before_anything_is_written(finished, tmp_path, changes, message):
    config = dataclasses.replace(CONFIG, **{"start_from": str(finished[0]), **changes})
    with pytest.raises(InputError, match=message):
        study.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_by_the_ratio_of_gradients_are_measured_once_and_kept_for_resuming_and_reading(tmp_path):
    config = dataclasses.replace(
        CONFIG, methods=("sep_neg",), sep_weight_unit="gradient_ratio", sep_weight_pos=0.3, sep_weight_neg=-0.1
    )
    result = study.run(config, tmp_path / "run")
    (row,) = result["rows"]
    kept = json.loads((tmp_path / "run" / "sep_weights.json").read_text())
    assert kept == {"sep_neg_seed0": row["sep_weight"]}
    assert row["sep_weight"] < 0
    assert row["sep_weight"] != -0.1, "the ratio is not the weight"
    assert len(row["sep_gradient_ratio_of_epochs"]) == config.epochs
    assert 0.01 < row["sep_gradient_ratio_of_epochs"][0] < 1
    (model,) = study.load_trained(tmp_path / "run").trained
    assert model.sep_weight == row["sep_weight"]
    assert study.run(config, tmp_path / "run", resume=True) == result
    (tmp_path / "run" / "sep_weights.json").unlink()
    with pytest.raises(InputError, match="no measured SEP weight of sep_neg_seed0"):
        study.load_trained(tmp_path / "run")

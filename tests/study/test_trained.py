"""Models of a finished study, read back for an analysis, kept with the code, or trained further."""

import functools
import json
import shutil
from unittest import mock

import jax
import numpy as np
import pytest
from tiny_study import CONFIG

from jsep import evaluate, explain, study
from jsep.checks import InputError
from jsep.study import trained


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


def test_studies_of_the_same_images_read_them_once(finished, tmp_path, monkeypatch):
    shutil.copytree(finished[0], tmp_path / "copy")
    monkeypatch.setattr(trained, "load_splits", reads := mock.Mock(wraps=trained.load_splits))
    first, second = trained.load_all_trained([finished[0], tmp_path / "copy"])
    assert reads.call_count == 1
    assert first.test is second.test


def test_damaged_checkpoint_is_an_error_unless_the_one_before_is_asked_for(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    file = max(
        (tmp_path / "run/checkpoints/mat_seed0/4").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size
    )
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 8
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"mat_seed0: checkpoint 4 is damaged .*older_checkpoint=True"):
        study.load_trained(tmp_path / "run")
    with pytest.warns(UserWarning, match="trying the one before"):
        older = study.load_trained(tmp_path / "run", older_checkpoint=True)
    assert not np.array_equal(
        jax.tree.leaves(older.trained[0].variables)[0],
        jax.tree.leaves(study.load_trained(finished[0]).trained[0].variables)[0],
    )


def test_load_trained_says_what_is_missing(finished, tmp_path):
    with pytest.raises(InputError, match="holds no study"):
        study.load_trained(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(finished[0], copy)
    shutil.rmtree(copy / "checkpoints" / "sep_neg_seed0")
    with pytest.raises(InputError, match="no checkpoints of sep_neg_seed0"):
        study.load_trained(copy)


def test_kept_study_does_not_say_where_its_data_lay(finished, tmp_path):
    copy = shutil.copytree(finished[0], tmp_path / "run")
    for name in ("config.json", "result.json"):
        content = json.loads((copy / name).read_text())
        content.get("config", content)["data_dir"] = "/home/me/data"
        if "environment" in content:
            content["environment"]["command"] = "python experiments/x.py --data_dir=/home/me/data --seed=0"
        (copy / name).write_text(json.dumps(content))
    with pytest.raises(InputError, match="not as it was written"):
        study.keep_study(copy, tmp_path / "kept")
    (copy / "manifest.json").unlink()
    kept = study.keep_study(copy, tmp_path / "kept")
    assert json.loads((kept / "config.json").read_text())["data_dir"] is None
    result = json.loads((kept / "result.json").read_text())
    assert result["config"]["data_dir"] is None
    assert result["environment"]["command"] == "python experiments/x.py --data_dir=DIR --seed=0"


def test_kept_study_gives_its_models_back_as_float16_without_checkpoints(finished, tmp_path):
    kept = study.keep_study(finished[0], tmp_path / "kept")
    assert {path.name for path in kept.iterdir()} == {
        "weights", "config.json", "manifest.json", "pairs.json", "result.json",
    }  # fmt: skip
    loaded, original = study.load_trained(kept), study.load_trained(finished[0])
    assert loaded.pairs == original.pairs
    for own, model in zip(original.trained, loaded.trained, strict=True):
        assert own.name == model.name
        for value, rounded in zip(jax.tree.leaves(own.variables), jax.tree.leaves(model.variables), strict=True):
            np.testing.assert_array_equal(rounded, np.asarray(value).astype(np.float16).astype(np.float32))


@pytest.mark.slow
def test_study_that_starts_from_another_begins_with_its_models(finished, tmp_path):
    """Without a step to change them (learning rate 0) the models are those of the other study."""
    earlier, result, _ = finished
    same = CONFIG.replace(
        methods=("sep_pos",), start_from=str(earlier), start_method="mat", epochs=1, learning_rate=1e-30,
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
    config = CONFIG.replace(**{"start_from": str(finished[0]), **changes})
    with pytest.raises(InputError, match=message):
        study.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_weights_by_the_ratio_of_gradients_are_measured_once_and_kept_for_resuming_and_reading(tmp_path):
    config = CONFIG.replace(
        methods=("sep_neg",), sep_weight_unit="gradient_ratio", sep_weight_pos=0.3, sep_weight_neg=-0.1
    )
    result = study.run(config, tmp_path / "run")
    (row,) = result["rows"]
    kept = json.loads((tmp_path / "run" / "sep_weights.json").read_text())
    assert kept == {"sep_neg_seed0": row["sep_weight"]}
    assert row["sep_weight"] < 0
    assert row["sep_weight"] != -0.1, "the ratio is not the weight"
    assert len(row["sep_gradient_ratio_of_epochs"]) == config.training.epochs
    assert 0.01 < row["sep_gradient_ratio_of_epochs"][0] < 1
    (model,) = study.load_trained(tmp_path / "run").trained
    assert model.sep_weight == row["sep_weight"]
    assert study.run(config, tmp_path / "run", resume=True) == result
    (tmp_path / "run" / "sep_weights.json").unlink()
    with pytest.raises(InputError, match="no measured SEP weight of sep_neg_seed0"):
        study.load_trained(tmp_path / "run")

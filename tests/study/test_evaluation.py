"""An evaluation: its numbers are those of the study, a killed one goes on, what does not fit is refused."""

import dataclasses
import json
import shutil
from typing import Any

import in_frameworks
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import data, models, record, study
from jsep.checks import InputError
from jsep.report.study_tables import interval_table
from jsep.study import evaluation_subject

STUDY = study.StudyConfig.of(
    experiment="tiny", methods=("mat", "sep_neg"), num_seeds=2, train_images=64, validation_images=20, test_images=30,
    epochs=1, batch_size=32, optimizer="adamw", learning_rate=0.003, epsilon=0.1, alpha=0.05, num_steps=1,
    test_num_steps=2, sep_weight_neg=-300.0, sep_weight_pos=300.0, explanation_num_steps=2, num_clusters=3,
    num_pairs=5, feature_epochs=1,
)  # fmt: skip
SETTINGS: dict[str, Any] = {
    "epsilon": 0.1, "test_num_steps": 2, "explanation_num_steps": 2, "properties_neighbours": 2, "chunk_size": 12,
}  # fmt: skip
TIMES = ("evaluate_seconds",)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("study") / "models"
    return run_dir, study.run(STUDY, run_dir)


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    rows = [{key: value for key, value in row.items() if key not in TIMES} for row in result["rows"]]
    return {"rows": rows, **{key: result[key] for key in ("pairs", "reference")}}


@pytest.mark.slow
def test_evaluation_repeats_the_numbers_of_the_study_and_goes_on_after_a_kill(trained, tmp_path) -> None:
    run_dir, result = trained
    config = study.EvaluationConfig.of(study_dirs=(str(run_dir),), auto_attack="fast", auto_attack_part=20, **SETTINGS)
    whole = study.run(config, tmp_path / "whole")
    assert json.loads((tmp_path / "whole" / "result.json").read_text()) == whole
    assert {path.name for path in (tmp_path / "whole").iterdir()} >= {
        "pairs.json", "maps.npz", "values.npz", "index.html", "split.png", "overview.png",
    }  # fmt: skip
    assert whole["pairs"] == result["pairs"]
    for own, row in zip(sorted(result["rows"], key=lambda r: r["seed"]), whole["rows"], strict=True):
        assert (row["method"], row["seed"], row["sep_weight"]) == (own["method"], own["seed"], own["sep_weight"])
        for name in ("clean_accuracy", "robust_accuracy", "explanation_loss_start", "explanation_loss_end"):
            assert row[name] == pytest.approx(own[name], rel=1e-4), name
        assert row["auto_attack_accuracy"] <= row["clean_accuracy"]
    with np.load(tmp_path / "whole" / "values.npz") as values:
        assert values["mat/1/robust_accuracy"].shape == (30,)
        assert values["sep_neg/0/one_minus_concordance_end"].shape == (5,)
        assert values["sep_neg/0/deletion_auc"].shape == (5,)
    typed = record.Result.from_dict(whole)
    assert {row.baseline for row in typed.rows} == {None, "mat"}
    assert {len(row.per_image["auto_attack_accuracy"]) for row in typed.rows} == {30}
    intervals = record.intervals(typed)
    for name in ("robust_accuracy", "explanation_loss_end", "one_minus_concordance_end", "auto_attack_accuracy"):
        for method in ("mat", "sep_neg"):
            low, high = intervals[name][method][1:]
            assert low <= intervals[name][method].estimate <= high
    asked = {finding.claim.question for finding in record.judge(typed)}
    assert asked >= {"order_by_loss", "order_by_concordance", "equal_accuracy"}

    class Killed(Exception):
        pass

    # Between two chunks of images, after the pairs of the second model, and between two parts of AutoAttack.
    places = ("accuracies of mat_seed0", "properties of the explanations of sep_neg_seed0", "AutoAttack on mat_seed1")
    for place in places:

        def kill(what: str, record: dict[str, Any], place: str = place) -> None:
            if what == place and (record.get("step", 0) > 0 or place.startswith("properties")):
                raise Killed

        with pytest.raises(Killed):
            study.run(config, tmp_path / "run", resume=True, on_progress=kill)
    resumed = study.run(config, tmp_path / "run", resume=True)
    assert comparable(resumed) == comparable(whole)
    page = (tmp_path / "run" / "index.html").read_text()
    table = interval_table(resumed, every=True)
    assert table is not None
    assert table.title in page
    assert all(f">{method}<" in page for method in ("mat", "sep_neg"))

    # Another selection, and a stored index.
    chosen = config.replace(selection="random", num_pairs=4, feature_network="mat", methods=("mat",), max_seeds=1,
        auto_attack=None, properties=False,
    )  # fmt: skip
    drawn = study.run(chosen, tmp_path / "drawn")
    assert drawn["pairs"]["selection"] == "random"
    stored = chosen.replace(selection="study", pairs_file=str(tmp_path / "drawn" / "pairs.json"))
    again = study.run(stored, tmp_path / "stored")
    assert again["pairs"] == drawn["pairs"]
    assert again["rows"][0]["explanation_loss_end"] == drawn["rows"][0]["explanation_loss_end"]
    assert len(again["rows"]) == 1

    # Pairs of other data: another number of test images, or a file that was changed.
    for change, message in (
        ({"pairs_file": str(tmp_path / "drawn" / "pairs.json"), "test_images": 20}, "the pair index was made for"),
        ({"pairs_file": str(tmp_path / "changed.json")}, "was changed after it was made"),
        ({"reference": "standard"}, "unknown reference 'standard'"),
        ({"methods": ("trades",)}, "unknown method of the studies 'trades'"),
        ({"feature_network": "resnet", "selection": "kmeans"}, "unknown feature network 'resnet'"),
        ({"selection": "kmeans", "num_clusters": 31}, "need at least"),
        ({"dataset": str(tmp_path / "other.npz")}, "mat_seed0 has 10 classes, but .* has 4"),
        ({"dataset": str(tmp_path / "colour.npz")}, "does not take images|channels"),
    ):
        text = (tmp_path / "drawn" / "pairs.json").read_text()
        (tmp_path / "changed.json").write_text(text.replace('"victims": [', '"victims": [1,', 1))
        rng = np.random.default_rng(0)
        for name, shape, classes in (("other", (40, 8, 8, 1), 4), ("colour", (40, 8, 8, 3), 10)):
            arrays = {"x": rng.random(shape, np.float32), "y": np.arange(40) % classes}
            np.savez(
                tmp_path / f"{name}.npz", x_train=arrays["x"], y_train=arrays["y"], x_test=arrays["x"],
                y_test=arrays["y"],
            )  # fmt: skip
        with pytest.raises(InputError, match=message):
            study.run(config.replace(**change), tmp_path / "none")
        assert not (tmp_path / "none").exists()

    # Two studies with the same methods have their names told apart.
    shutil.copytree(run_dir, tmp_path / "copy")
    both = config.replace(study_dirs=(str(run_dir), str(tmp_path / "copy")), reference="mat (copy)")
    subject = evaluation_subject.load_subject(both)
    assert {model.method for model in subject.models} == {
        "mat (models)", "sep_neg (models)", "mat (copy)", "sep_neg (copy)"
    }  # fmt: skip
    assert subject.reference == "mat (copy)"


def test_images_that_all_classify_correctly_leave_degraded_models_out() -> None:
    """One arm is right on other images, one is broken, one collapsed: only the first narrows the choice."""
    labels = np.arange(40) % 4
    images = np.zeros((40, 2, 2, 1), np.float32)
    images[:, 0, 0, 0] = np.arange(40) / 40
    test = data.from_arrays(images, labels, num_classes=4)

    def model(method: str, trained_as: str, wrong: list[int], collapsed: bool = False):
        predicted = labels.copy()
        predicted[wrong] = (labels[wrong] + 1) % 4
        table = jnp.eye(4)[predicted]
        own_fn = lambda table, image: table[jnp.round(40 * image[0, 0, 0]).astype(int)]  # noqa: E731
        return evaluation_subject.EvaluatedModel(
            method, 0, "one", trained_as, None, table, own_fn=own_fn, collapsed=collapsed
        )

    found = (
        model("continued_8", "mat", [0]), model("sep_pos_8", "sep_pos", [1, 2]),
        model("sep_neg_8", "sep_neg", list(range(10, 40))), model("other_8", "trades", [3], collapsed=True),
    )  # fmt: skip
    config = study.EvaluationConfig.of(cells=("continued_8=one:mat",), selection="kmeans", correct_by_all=True)
    kept = evaluation_subject._correct_by_all(config, found, test, None)
    assert np.flatnonzero(~kept).tolist() == [0, 1, 2]


@pytest.mark.slow
def test_cells_join_models_of_many_studies_on_images_that_all_classify_correctly(trained, tmp_path) -> None:
    run_dir, _ = trained
    config = study.EvaluationConfig.of(
        cells=(f"base_0={run_dir}:mat", f"sep_neg_0={run_dir}:sep_neg"), claims="definitive", selection="kmeans",
        num_clusters=2, num_pairs=4, feature_network="base_0", correct_by_all=True, properties=False,
        auto_attack="fast", auto_attack_images=10, **SETTINGS,
    )  # fmt: skip
    subject = evaluation_subject.load_subject(config)
    assert [model.name for model in subject.models] == [
        "base_0_seed0", "base_0_seed1", "sep_neg_0_seed0", "sep_neg_0_seed1"
    ]  # fmt: skip
    for model in subject.models:
        for index in subject.pairs.victims:
            assert model.model_fn(model.variables, subject.test.as_float(index)).argmax() == subject.test.labels[index]
    given = tmp_path / "given"  # a study that was given its pairs, before the one that chose them
    shutil.copytree(run_dir, given, ignore=shutil.ignore_patterns("features_seed*"))
    cells = (f"base_0={given}:mat", f"sep_neg_0={run_dir}:sep_neg")
    of_second = evaluation_subject.load_subject(config.replace(cells=cells, feature_network="features"))
    of_first = evaluation_subject.load_subject(config.replace(feature_network="features"))
    assert of_second.pairs.as_dict() == of_first.pairs.as_dict()
    with pytest.raises(InputError, match="trained no feature network of its own"):
        evaluation_subject.load_subject(config.replace(cells=cells[:1], feature_network="features"))
    for change, message in (
        ({"study_dirs": (str(run_dir),)}, "cells name all models"),
        ({"cells": (str(run_dir),)}, "a cell is name=PATTERN"),
        ({"cells": ("base_0=nowhere/*",)}, "no run directory matches nowhere"),
        ({"cells": (f"base_0={run_dir}:mat", f"base_0={run_dir}:sep_neg")}, "base_0_seed0 is found twice"),
        ({"cells": (f"base_0={run_dir}:trades",)}, "unknown method of cell 'base_0'"),
    ):
        with pytest.raises(InputError, match=message):
            evaluation_subject.load_subject(config.replace(**change))


@pytest.mark.long
def test_pytorch_weights_are_evaluated_beside_each_other(tmp_path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra: pip install -e '.[oracle]'")
    import importlib.util
    import pathlib

    path = pathlib.Path(__file__).parents[1] / "oracle" / "test_torch_weights.py"
    spec = importlib.util.spec_from_file_location("torch_twins", path)
    assert spec is not None
    assert spec.loader is not None
    twins = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(twins)
    rng = np.random.default_rng(0)
    images, labels = rng.random((20, 16, 16, 3), np.float32), np.arange(20) % 10
    np.savez(tmp_path / "d.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    torch.manual_seed(0)
    twin = twins.randomised(twins.ResNet18()).eval()
    torch.save(twin.state_dict(), tmp_path / "twin.pt")
    torch.save(twins.ResNet18(100).state_dict(), tmp_path / "hundred.pt")
    config = study.EvaluationConfig.of(
        torch_weights=(f"one={tmp_path / 'twin.pt'}", str(tmp_path / "twin.pt")), dataset=str(tmp_path / "d.npz"),
        selection="kmeans", num_clusters=2, num_pairs=3, feature_network="one", explanation_num_steps=1,
        test_num_steps=1, properties=False, input_mean=("0.4", "0.5", "0.6"), reference="one", chunk_size=10,
    )  # fmt: skip
    found = study.run(config, tmp_path / "run")
    inputs = torch.tensor((images - np.array([0.4, 0.5, 0.6], np.float32)) / 0.25).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        predicted = twin(inputs).argmax(1).numpy()
    assert [row["method"] for row in found["rows"]] == ["one", "twin"]
    for row in found["rows"]:
        assert row["clean_accuracy"] == pytest.approx(np.mean(predicted == labels))
        assert row["source"] == "twin.pt"
        assert not row["degraded"]
    with pytest.raises(InputError, match=r"linear\.(weight|bias) must have the shape"):
        study.run(config.replace(torch_weights=(str(tmp_path / "hundred.pt"),)), tmp_path / "x")
    with pytest.raises(InputError, match="'twin' names another model already"):
        study.run(config.replace(torch_weights=(str(tmp_path / "twin.pt"),) * 2), tmp_path / "x")


@pytest.mark.slow
def test_models_of_other_frameworks_are_evaluated_beside_each_other(tmp_path, monkeypatch) -> None:
    images = in_frameworks.IMAGES
    labels = np.asarray(jax.vmap(in_frameworks.by_hand)(images)).argmax(axis=1)
    np.savez(tmp_path / "d.npz", x_train=images, y_train=np.arange(12) % 3, x_test=images, y_test=labels)
    config = study.EvaluationConfig.of(
        classifiers=("in_frameworks:by_hand_", "two=in_frameworks:NnxNetwork"), dataset=str(tmp_path / "d.npz"),
        selection="kmeans", num_clusters=2, num_pairs=3, feature_network="two", explanation_num_steps=2,
        test_num_steps=2, auto_attack="fast", same_class=True, reference="two", chunk_size=6, properties_neighbours=2,
    )  # fmt: skip
    monkeypatch.setattr(in_frameworks, "by_hand_", lambda: in_frameworks.by_hand, raising=False)
    one, two = study.run(config, tmp_path / "run")["rows"]
    assert (one["method"], two["method"], two["source"]) == ("by_hand_", "two", "in_frameworks:NnxNetwork")
    assert one["clean_accuracy"] == 1
    same = ("robust_accuracy", "auto_attack_accuracy", "explanation_loss_end", "deletion_auc", "max_sensitivity")
    for name in ("clean_accuracy", *same):
        assert one[name] == pytest.approx(two[name], rel=1e-2), name
    with pytest.raises(InputError, match="'two' names another model already"):
        study.run(config.replace(classifiers=("two=in_frameworks:NnxNetwork",) * 2), tmp_path / "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "nothing to evaluate"),
        ({"torch_weights": ("w.pt",)}, "imported models do not name their data"),
        ({"torch_weights": ("w.pt",), "dataset": "cifar10"}, "without a study there are no stored pairs"),
        ({"study_dirs": ("s",), "selection": "kmean"}, "did you mean 'kmeans'"),
        ({"study_dirs": ("s",), "epsilon": 8.0}, "did you mean 8/255"),
        ({"study_dirs": ("s",), "auto_attack": "strong"}, "unknown auto_attack 'strong'"),
        ({"study_dirs": ("s",), "input_mean": ("a",)}, "input_mean must be one number a channel, got a"),
        ({"study_dirs": ("s",), "properties_neighbours": 0}, "properties_neighbours must be an integer >= 1"),
        ({"study_dirs": ("s",), "explanation_method": "rise"}, "'rise' has no derivative"),
        ({"study_dirs": ("s",), "chunk_size": 0}, "chunk_size must be an integer >= 1"),
    ],
)
def test_bad_settings_are_input_errors(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluation_subject.load_subject(study.EvaluationConfig.of(**change))


def test_model_of_other_classes_or_images_is_refused(tiny) -> None:
    model = evaluation_subject.EvaluatedModel("mat", 0, "here", "mat", tiny.model, tiny.variables)
    for shape, classes, message in (
        ((8, 8, 1), 10, None),
        ((8, 8, 1), 7, "mat_seed0 has 10 classes, but made up has 7"),
        ((8, 8, 3), 10, r"mat_seed0 does not take images of \(8, 8, 3\) as in made up"),
    ):
        info = data.DatasetInfo(
            "made up", classes, shape, (0.5,) * shape[2], (0.2,) * shape[2], tuple("abcdefghij"[:classes]), False
        )
        dataset = data.Dataset(np.zeros((2, *shape), np.float32), np.zeros(2, np.int32), info, "test")
        if message is None:
            evaluation_subject._check_fits(model, dataset)
            continue
        with pytest.raises(InputError, match=message):
            evaluation_subject._check_fits(model, dataset)
    normalised = dataclasses.replace(model, network=models.ConvNet(num_classes=10, mean=(0.5,) * 3, std=(0.2,) * 3))
    with pytest.raises(InputError, match="takes images of 3 channels"):
        evaluation_subject._check_fits(
            normalised, data.Dataset(np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, np.int32),
                                     data.DatasetInfo("d", 10, (8, 8, 1), (0.5,), (0.2,), tuple("abcdefghij"), False),
                                     "test"),
        )  # fmt: skip

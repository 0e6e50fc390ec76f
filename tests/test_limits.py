"""Limits: memory, numbers that NumPy made, equal points, types of arguments."""

import json
import pathlib
from typing import Any

import jax
import numpy as np
import pytest

from jsep import attack, data, evaluate, explain, landscape, memory, models, stats, study, train
from jsep.checks import InputError

KEY = jax.random.key(0)
IMAGE = np.full((4, 4, 1), 0.5, np.float32)


def logits_fn(image: Any) -> Any:
    return image.ravel()[:3]


BIG = 10**9


@pytest.mark.parametrize(
    "call",
    [
        lambda: explain.rise(logits_fn, IMAGE, 0, key=KEY, num_samples=BIG),
        lambda: explain.lime(logits_fn, IMAGE, 0, key=KEY, num_samples=BIG, segments=1),
        lambda: evaluate.neighbours(KEY, IMAGE, radius=0.1, num_samples=BIG),
        lambda: landscape.slice_2d(lambda z: z.sum(), IMAGE, np.stack([IMAGE, IMAGE[::-1]]), 1.0, 10**6),
        lambda: models.init(KEY, models.ViT(num_classes=2, width=100_000, num_heads=1), (8, 8, 1)),
    ],
    ids=["rise", "lime", "neighbours", "slice", "model"],
)
def test_what_does_not_fit_into_memory_is_refused_with_the_number(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_of_machine", lambda: 8 * 2**30)
    with pytest.raises(InputError, match=r"would take [\d,.]+ GiB, and this machine has 8\.0 GiB"):
        call()


def test_memory_of_the_machine_is_known() -> None:
    assert 2**28 < memory.memory_of_machine() < 2**50


@pytest.mark.parametrize("equal", [6, 12])
def test_equal_points_are_clustered(equal: int) -> None:
    points = np.random.default_rng(0).normal(size=(12, 3))
    points[:equal] = points[0]
    groups = evaluate.make_groups(points, np.arange(12) % 3, "kmedoids", num_clusters=4)
    assert sorted(set(groups.labels)) == [0, 1, 2, 3]


def test_numbers_of_numpy_are_stored_as_numbers(tmp_path: pathlib.Path) -> None:
    config = study.StudyConfig.of()
    with study.run_directory.RunDirectory(tmp_path / "run", config) as directory:
        directory.write_result(
            {"rows": [{"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": np.array(2)}]}
        )
    (row,) = json.loads((tmp_path / "run" / "result.json").read_text())["rows"]
    assert row == {"a": 0.5, "b": 3, "c": True, "d": 2}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: explain.gradient("model", IMAGE, 0), "logits_fn must be a function, got 'model'"),
        (lambda: attack.pgd(0, attack.margin(logits_fn, 0), IMAGE, epsilon=0.1, alpha=0.1, num_steps=1), "key must"),
        (lambda: evaluate.accuracies(KEY, lambda v, x: logits_fn(x), (), "digits"), "dataset must be a Dataset"),
        (lambda: stats.t_interval([0.1, 0.2], confidence="0.9"), "confidence must be a finite number, got '0.9'"),
        (lambda: train.SepConfig(map_config="l1"), "map_config must be a MapConfig, got 'l1'"),
        (lambda: attack.TargetedConfig(repair="no"), "repair must be True or False, got 'no'"),
        (lambda: data.load(3, split="test"), "name must be a text or a PathLike, got 3"),
        (lambda: explain.gradient(lambda z: 3 / z["a"], IMAGE, 0), r"logits_fn fails for an image of shape \(4, 4"),
    ],
)  # fmt: skip
def test_argument_of_a_wrong_type_is_named(call: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()


def test_failure_with_right_types_stays_what_it_is() -> None:
    class Own(Exception):
        pass

    def stop(record: Any) -> None:
        raise Own

    images = np.full((4, 4, 4, 1), 0.5, np.float32)
    dataset = data.from_arrays(images, np.array([0, 1, 2, 0]))
    with pytest.raises(Own):
        evaluate.accuracies(KEY, lambda v, x: logits_fn(x), (), dataset, num_steps=0, on_progress=stop)


def test_paths_may_be_pathlib_and_begin_at_home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    weights = {"params": {"a": np.ones(2, np.float32)}}
    models.save_weights("~/weights.npz", weights)
    assert (tmp_path / "weights.npz").exists()
    np.testing.assert_array_equal(models.load_weights(pathlib.Path("~/weights.npz"))["params"]["a"], 1.0)
    with study.run_directory.RunDirectory("~/run", study.StudyConfig.of()) as directory:
        assert directory.path == tmp_path / "run"

"""The models that come with the package: small, whole, with a card, and right on the examples that come along."""

import json
import shutil
import tomllib
from pathlib import Path

import jax
import numpy as np
import pytest

from jsep import data, models
from jsep.checks import InputError
from jsep.data import example_images
from jsep.models import zoo

ROOT = Path(__file__).resolve().parents[2]


def test_every_model_loads_and_its_card_says_what_it_is() -> None:
    assert len(models.pretrained()) >= 2
    for name in models.pretrained():
        loaded = models.load_pretrained(name)
        shape = tuple(loaded.card["model"]["input_shape"])
        assert name == f"{loaded.card['dataset']}_{loaded.card['model']['name']}_{loaded.card['method']}"
        logits = jax.eval_shape(loaded.logits_fn, jax.ShapeDtypeStruct(shape, np.float32))
        assert logits.shape == (loaded.card["model"]["num_classes"],)
        assert {"command", "commit", "date", "sep_weight", "settings"} <= set(loaded.card["recipe"])
        assert len(loaded.card["sha256"]) == 64
        assert loaded.card["measured"], f"{name} has no card: run experiments/add_to_zoo.py"
        for measured in loaded.card["measured"].values():
            wanted = {"clean_accuracy", "robust_accuracy", "auto_attack_accuracy", "explanation_loss_start"}
            assert wanted | {"explanation_loss_end", "effective_pixels", "pairs_attacked"} <= set(measured)


def test_examples_are_classified_correctly_by_every_model_of_their_data() -> None:
    for name in models.pretrained():
        loaded = models.load_pretrained(name)
        examples = data.examples(loaded.card["dataset"])
        logits = loaded.model.apply(loaded.variables, examples.as_float())
        np.testing.assert_array_equal(np.argmax(logits, axis=1), examples.labels, err_msg=name)


def test_examples_are_twelve_test_images_with_all_classes() -> None:
    for path in example_images.FOLDER.glob("*.npz"):
        examples = data.examples(path.stem)
        assert len(examples) == example_images.NUM_EXAMPLES
        assert examples.split == "test"
        assert len(set(examples.labels.tolist())) == examples.info.num_classes
        assert len(set(example_images.read_examples(path.stem)["indices"].tolist())) == len(examples)
    with pytest.raises(InputError, match="examples 'mnits'.*did you mean 'mnist'"):
        data.examples("mnits")


def test_the_zoo_is_small_and_part_of_the_package() -> None:
    files = [path for path in zoo.FOLDER.iterdir() if path.suffix in (".npz", ".json")]
    assert {path.stem for path in files} == set(models.pretrained())
    assert sum(path.stat().st_size for path in files) < 15e6
    examples = list(example_images.FOLDER.glob("*.npz"))
    assert sum(path.stat().st_size for path in examples) <= 200_000
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    kept = {
        path
        for package, patterns in declared.items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    assert {*files, *examples, *(ROOT / "jsep/study/protocols").glob("*.json")} <= kept


def test_a_damaged_model_is_refused_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = models.pretrained()[0]
    for suffix in (".npz", ".json"):
        shutil.copy(zoo.FOLDER / f"{name}{suffix}", tmp_path)
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    models.load_pretrained(name)
    weights, content = tmp_path / f"{name}.npz", (tmp_path / f"{name}.npz").read_bytes()
    weights.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    with pytest.raises(InputError, match="damaged: SHA-256 is not") as caught:
        models.load_pretrained(name)
    assert "\n" not in str(caught.value)
    weights.write_bytes(content)
    card = tmp_path / f"{name}.json"
    card.write_text(json.dumps({"sha256": 3}))
    with pytest.raises(InputError, match="card of .* is damaged"):
        models.load_pretrained(name)
    with pytest.raises(InputError, match="unknown pretrained model"):
        models.load_pretrained("cifar10_convnet")

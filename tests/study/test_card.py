"""A card measures what its protocol says, on the same images for every model, and goes on after a stop."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jsep import data, evaluate, models, study
from jsep.checks import InputError
from jsep.record.row import unpack_correct
from jsep.study import zoo as study_zoo
from jsep.study.card_subject import load_card_subject
from jsep.study.protocols import FOLDER, Protocol, hash_of_images

TEST = data.load("digits", split="test")


def made(victims: tuple[int, ...], targets: tuple[int, ...]) -> Protocol:
    return Protocol(
        name="digits_linf", version=1, dataset="digits", sizes={"clean": 40, "pgd": 12, "auto_attack": 4, "pairs": 4},
        norm="linf", epsilon=0.1, alpha=0.05, num_steps=2, auto_attack="fast", explanation="gradient_x_input",
        reduce="abs_sum", normalize="l1", explanation_attack="fast", seed=0, victims=victims, targets=targets,
        sha256=hash_of_images(TEST, victims, targets), minutes=1, about="",
    )  # fmt: skip


@pytest.fixture
def protocol(tiny: Any) -> Protocol:
    """Pairs of the tiny model: two that it classifies correctly, one with a victim and one with a target that it does
    not."""
    predicted = np.argmax(tiny.model.apply(tiny.variables, TEST.as_float()), axis=1)
    right, wrong = np.flatnonzero(predicted == TEST.labels), np.flatnonzero(predicted != TEST.labels)
    a, b, x = (int(index) for index in (right[0], right[1], wrong[0]))
    return made((a, b, x, a), (b, a, a, x))


def test_protocols_are_named_after_their_files_and_have_their_pairs() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} <= set(study.PROTOCOLS)
    for name, each in study.PROTOCOLS.items():
        assert each.full_name == name
        assert len(each.victims) == len(each.targets) >= each.sizes["pairs"]
        assert len(set(each.victims)) == len(each.victims)
        assert each.epsilon < 1
        assert each.explanation_settings().epsilon == each.epsilon
    with pytest.raises(InputError, match="did you mean 'cifar10_linf_v1'"):
        study.protocol("cifar10_linf_v3")


def test_images_that_are_not_the_protocols_are_refused(protocol: Protocol) -> None:
    assert protocol.pairs(TEST).victims == protocol.victims
    for other in (TEST.take(slice(None, None, -1)), data.load("digits", split="train"), TEST.take(slice(20))):
        with pytest.raises(InputError, match="digits_linf_v1"):
            protocol.pairs(other)


@pytest.mark.slow
def test_card_measures_and_leaves_out_pairs_that_the_model_misclassifies(tiny: Any, protocol: Protocol) -> None:
    card = study.measure_card(tiny.model_fn, tiny.variables, protocol, TEST)
    predicted = np.argmax(tiny.model.apply(tiny.variables, TEST.as_float()), axis=1)
    assert card["clean_accuracy"] == np.mean((predicted == TEST.labels)[:40])
    key = jax.random.fold_in(jax.random.key(0), 1)
    robust = evaluate.accuracies(
        key, tiny.model_fn, tiny.variables, TEST.take(slice(12)), epsilon=0.1, alpha=0.05, num_steps=2
    )[1]
    assert card["robust_accuracy"] == pytest.approx(robust)
    assert card["pairs_attacked"] == 2
    assert [value is None for value in card["per_pair"]["explanation_loss_end"]] == [False, False, True, True]
    assert card["explanation_loss_end"] == pytest.approx(
        np.mean(card["per_pair"]["explanation_loss_end"][:2]), rel=1e-5
    )
    # A function of the image alone, in other chunks, has the same card; a part of the protocol meets the same attacks.
    logits_fn = functools.partial(tiny.model.apply, tiny.variables)
    part = protocol.part(clean=5, pgd=3, auto_attack=2, pairs=1)
    again = study.measure_card(lambda _, image: logits_fn(image[None])[0], None, part, TEST, chunk_size=2)
    for name, packed in again["per_image"].items():
        few, all_ = unpack_correct(packed), unpack_correct(card["per_image"][name])
        np.testing.assert_array_equal(few, all_[: len(few)])
    for name, values in again["per_pair"].items():
        assert values == pytest.approx(card["per_pair"][name][:1], rel=1e-3)


@pytest.mark.slow
def test_card_of_a_run_directory_resumes_and_enters_a_zoo(
    finished: Any, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = dataclasses.replace(protocol, sizes=protocol.sizes | {"auto_attack": 2, "pairs": 1})
    monkeypatch.setitem(study.PROTOCOLS, "digits_linf_v1", small)
    config = study.CardConfig.of(classifier=str(finished[0]), protocol="digits_linf_v1", method="mat", model_seed=0)
    with pytest.raises(InputError, match="name one of them by method and model_seed"):
        study.run(config.replace(method=None, model_seed=None), tmp_path / "none")

    def stop(what: str, record: dict[str, Any]) -> None:
        if record.get("unit") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run(config, tmp_path / "card", on_progress=stop)
    result = study.run(config, tmp_path / "card", resume=True)
    assert [row["part"] for row in result["rows"]] == list(small.sizes)
    assert result["card"]["clean_accuracy"] == result["rows"][0]["clean_accuracy"]
    assert (tmp_path / "card" / "index.html").exists()

    monkeypatch.setattr("jsep.models.zoo.FOLDER", tmp_path)
    card = study_zoo.put_weights("digits_convnet_mat", finished[0], "mat", 0, folder=tmp_path)
    assert models.pretrained() == ("digits_convnet_mat",)
    with pytest.raises(InputError, match="not of the weights"):
        study_zoo.put_measured("digits_convnet_mat", result, folder=tmp_path)
    of_zoo = study.run(config.replace(classifier="digits_convnet_mat", method=None), tmp_path / "zoo")
    study_zoo.put_measured("digits_convnet_mat", of_zoo, folder=tmp_path)
    loaded = models.load_pretrained("digits_convnet_mat")
    assert loaded.card["sha256"] == card["sha256"] == of_zoo["sha256"]
    assert loaded.card["measured"]["digits_linf_v1"]["clean_accuracy"] == of_zoo["card"]["clean_accuracy"]
    assert study_zoo.put_weights("digits_convnet_mat", finished[0], "mat", 0, folder=tmp_path)["measured"]


def test_model_from_a_module_takes_normalised_images_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import jax\ndef make():\n    return lambda image: image.ravel()\nlist_ = []\n"
    source += (
        "def with_variables():\n    return lambda v, images: images.reshape(len(images), -1) * v, jax.numpy.ones(4)\n"
    )
    (tmp_path / "my_model_of_a_card.py").write_text(source + "def no_model():\n    return 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path, str(tmp_path)])
    image, shape = np.full((2, 2, 1), 0.75, np.float32), (2, 2, 1)
    for name in ("my_model_of_a_card:make", "my_model_of_a_card:with_variables"):
        plain = load_card_subject(name, input_shape=shape)
        np.testing.assert_allclose(plain.model_fn(plain.variables, image), 0.75)
        scaled = load_card_subject(name, input_shape=shape, mean=(0.25,), std=(0.5,))
        np.testing.assert_allclose(scaled.model_fn(scaled.variables, image), 1.0, rtol=1e-6)
    np.testing.assert_allclose(plain.variables, np.ones(4))
    for name, message in (
        ("my_model_of_a_card:list_", "must be a function without arguments"),
        ("my_model_of_a_card:no_model", "my_model_of_a_card:no_model: model must be a function or a module"),
        ("my_model_of_a_card:other", "cannot be imported"),
        ("nowhere_at_all:make", "cannot be imported"),
        ("cifar10_convnet_mt", "did you mean 'cifar10_convnet_mat'"),
    ):
        with pytest.raises(InputError, match=message):
            load_card_subject(name, input_shape=shape)
    with pytest.raises(InputError, match="normalises its images itself"):
        load_card_subject("cifar10_convnet_mat", input_shape=shape, mean=(0.5,))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar10_convnet_mat", pytest.param("mnist_convnet_sep_neg", marks=pytest.mark.long)])
def test_a_slice_of_a_card_is_measured_again(name: str, tfds_dir: str) -> None:
    check_again(name, tfds_dir, clean=500, pgd=20, auto_attack=2, pairs=2)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", models.pretrained())
def test_every_card_is_measured_again(name: str, tfds_dir: str) -> None:
    check_again(name, tfds_dir)


def check_again(name: str, tfds_dir: str, **sizes: int) -> None:
    """Measures the card of a model, or a part of it, on real test images and compares single images and pairs."""
    loaded = models.load_pretrained(name)
    for protocol_name, card in loaded.card["measured"].items():
        protocol = study.protocol(protocol_name).part(**sizes)
        test = data.load(protocol.dataset, data_dir=tfds_dir, split="test")
        again = study.measure_card(loaded.model_fn, loaded.variables, protocol, test)
        for metric, packed in again["per_image"].items():
            few, whole = unpack_correct(packed), unpack_correct(card["per_image"][metric])
            # On another processor an image at the boundary may be judged otherwise; a random search may draw otherwise.
            assert np.mean(few != whole[: len(few)]) <= max(0.02, 1 / len(few)), metric
        for metric, values in again["per_pair"].items():
            before = card["per_pair"][metric][: len(values)]
            assert [value is None for value in values] == [value is None for value in before]
            known = [(a, b) for a, b in zip(values, before, strict=True) if a is not None]
            assert np.mean([a for a, _ in known]) == pytest.approx(np.mean([b for _, b in known]), rel=0.05), metric

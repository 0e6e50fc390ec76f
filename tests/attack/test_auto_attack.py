"""AutoAttack: exact on linear models, honest about masked gradients, independent of chunks, clear on bad input."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import attack, data, evaluate
from jsep.checks import InputError
from jsep.compiled import num_programs
from jsep.types import Array

SHAPE = (3, 4, 2)
KEY = jax.random.key(0)
ORACLE = oracles.linear(num_classes=5)
WEIGHTS = {"weights": jnp.asarray(ORACLE.weights, jnp.float32), "bias": jnp.asarray(ORACLE.bias, jnp.float32)}
# As long as the images of these tests need; one compilation serves most of them.
SHORT = attack.AutoAttackConfig(num_steps=20, num_queries=200)
VERSIONS = {"linf": SHORT, "l2": attack.AutoAttackConfig(attacks=("apgd-t", "square"), num_steps=20, num_queries=200)}


def linear_model(variables: Any, image: Array) -> Array:
    return jnp.tensordot(variables["weights"], image, 3) + variables["bias"]


def images_of(num: int = 40, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, (num, *SHAPE)).astype(np.float32)


def labels_of(images: np.ndarray) -> np.ndarray:
    return np.asarray(jax.vmap(ORACLE.logits)(images)).argmax(1)


run = functools.partial(attack.auto_attack, KEY, version=SHORT, chunk_size=16)


@pytest.fixture(scope="module")
def broken() -> dict[str, tuple]:
    """norm -> (images, labels, epsilon, what the attack found)."""
    found = {}
    for norm, epsilon in (("linf", 0.08), ("l2", 0.25)):
        images = images_of() if norm == "linf" else images_of(40, 0.3, 0.7)  # under l2 the box must not bind
        labels = labels_of(images)
        labels[::9] = (labels[::9] + 1) % 5
        settings = {"norm": norm, "epsilon": epsilon, "version": VERSIONS[norm]}
        result = run(functools.partial(linear_model, WEIGHTS), images, labels, **settings)
        found[norm] = (images, labels, epsilon, *result)
    return found


@pytest.mark.parametrize("norm", attack.NORMS)
def test_images_of_a_linear_model_are_broken_exactly_where_the_closed_form_says(norm: str, broken: dict) -> None:
    images, labels, epsilon, _, info = broken[norm]
    margins = np.array(
        [oracles.linear_margin(ORACLE, x, int(y), epsilon, norm) for x, y in zip(images, labels, strict=True)]
    )
    clear = np.abs(margins) > 1e-3
    assert clear.sum() >= 38
    np.testing.assert_array_equal(info.robust[clear], margins[clear] < 0)
    assert 0.2 < info.robust.mean() < 0.8


@pytest.mark.parametrize("norm", attack.NORMS)
def test_returned_images_are_valid_within_the_budget_and_misclassified(norm: str, broken: dict) -> None:
    images, labels, epsilon, adversarial, info = broken[norm]
    assert adversarial.shape == images.shape
    assert adversarial.dtype == np.float32
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    change = (adversarial.astype(np.float64) - images).reshape(len(images), -1)
    size = np.abs(change).max(1) if norm == "linf" else np.linalg.norm(change, axis=1)
    np.testing.assert_allclose(info.distance, size, rtol=0, atol=1e-12)
    assert np.all(size <= epsilon * (1 + 1e-5) + 1e-6)
    predicted = np.asarray(jax.vmap(ORACLE.logits)(adversarial)).argmax(1)
    np.testing.assert_array_equal(predicted == labels, info.robust)
    np.testing.assert_array_equal(info.distance == 0, info.robust | ~info.clean_correct)


@pytest.mark.parametrize("norm", attack.NORMS)
def test_info_agrees_with_itself_and_nothing_is_raised_on_an_honest_model(norm: str, broken: dict) -> None:
    *_, info = broken[norm]
    assert list(info.robust_accuracy) == ["clean", *VERSIONS[norm].attacks]
    left = list(info.robust_accuracy.values())
    assert left == sorted(left, reverse=True)
    assert left[0] == info.clean_correct.mean()
    assert left[-1] == info.robust.mean()
    assert np.all((info.broken_by == "") == info.robust)
    assert np.all((info.broken_by == "clean") == ~info.clean_correct)
    assert {check.name for check in info.checks} == {
        "randomised", "probabilities", "zero_gradients", "few_classes", "square_beats_white_box", "loss_not_rising",
    }  # fmt: skip
    assert info.raised == ()
    assert all(check.sentence.endswith(".") for check in info.checks)


def test_one_compilation_serves_all_chunks_targets_budgets_and_variables(broken: dict) -> None:
    images, labels, *_ = broken["linf"]
    before = num_programs()
    # Not by jax.tree.map, which sorts the keys: code may see their order, so another one is another program.
    other = {name: 2 * leaf for name, leaf in WEIGHTS.items()}
    for epsilon, variables in ((0.01, WEIGHTS), (0.05, other), (0.07, WEIGHTS)):
        run(functools.partial(linear_model, variables), images, labels, epsilon=epsilon)
    assert num_programs() == before


def test_few_images_left_are_attacked_in_smaller_chunks_that_hold_them_all() -> None:
    from jsep.attack.auto_attack import _size_for

    counts = (100, 64, 17, 16, 5, 4, 2, 1, 0)
    assert [_size_for(count, 64) for count in counts] == [64, 64, 64, 16, 16, 4, 4, 1, 1]
    assert _size_for(2, 3) == 3


def test_robust_accuracy_falls_with_epsilon_to_zero(broken: dict) -> None:
    images, labels, *_ = broken["linf"]
    masks = [
        run(functools.partial(linear_model, WEIGHTS), images, labels, epsilon=epsilon)[1].robust
        for epsilon in (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
    ]
    for smaller, larger in itertools.pairwise(masks):
        assert np.all(larger <= smaller)
    assert masks[0].mean() > 0.8
    assert not masks[-1].any()


def test_zero_epsilon_returns_the_clean_images(broken: dict) -> None:
    images, labels, *_ = broken["linf"]
    adversarial, info = run(functools.partial(linear_model, WEIGHTS), images, labels, epsilon=0.0)
    np.testing.assert_array_equal(adversarial, images)
    np.testing.assert_array_equal(info.robust, info.clean_correct)
    assert np.all(info.distance == 0)
    assert list(info.robust_accuracy) == ["clean"]


def test_plain_function_in_other_chunks_gives_what_the_function_with_variables_gives(broken: dict) -> None:
    images, labels, epsilon, adversarial, info = broken["linf"]
    seen: list[tuple[str, int]] = []
    closed, closed_info = run(
        functools.partial(linear_model, WEIGHTS), images, labels, epsilon=epsilon, chunk_size=7,
        on_progress=lambda name, record: seen.append((name, int(record["attacked"]))),
    )  # fmt: skip
    np.testing.assert_array_equal(closed_info.broken_by, info.broken_by)
    np.testing.assert_allclose(closed, adversarial, rtol=0, atol=1e-6)
    assert [name for name, _ in seen] == list(SHORT.attacks)
    left = [round(accuracy * len(images)) for accuracy in info.robust_accuracy.values()]
    assert [attacked for _, attacked in seen] == left[:-1]


# Models that look robust to PGD on the cross-entropy, though each has the robustness of the linear model behind it.


def saturated(variables: Any, image: Array) -> Array:
    """Confident beyond float32: the softmax is exactly one, the gradient of the cross-entropy exactly zero."""
    return 1e4 * linear_model(variables, image)


def quantised(variables: Any, image: Array) -> Array:
    """Steps instead of a slope: every gradient is zero."""
    return jnp.round(8 * linear_model(variables, image)) / 8


def raised_by(info: attack.AutoAttackInfo) -> set[str]:
    return {check.name for check in info.checks if check.raised}


def test_saturated_model_that_pgd_calls_robust_is_broken_and_flagged(broken: dict) -> None:
    images, labels, epsilon, _, honest = broken["linf"]
    scored = data.Dataset(
        images, labels.astype(np.int32), data.DatasetInfo("made up", 5, SHAPE, (0.5,) * 2, (0.25,) * 2, (), False), ""
    )
    clean, by_pgd = evaluate.accuracies(
        KEY, saturated, WEIGHTS, scored, epsilon=epsilon, alpha=epsilon / 4, num_steps=20, random_start=False
    )
    version = attack.AutoAttackConfig(attacks=("apgd-ce", "apgd-t"), num_steps=20)
    _, info = run(functools.partial(saturated, WEIGHTS), images, labels, epsilon=epsilon, version=version)
    assert clean - by_pgd < 0.1
    assert info.robust_accuracy["apgd-ce"] > info.robust.mean() + 0.2
    np.testing.assert_array_equal(info.robust, honest.robust)
    assert "zero_gradients" in raised_by(info)
    assert "cross-entropy" in " ".join(info.raised)


def test_quantised_model_is_broken_by_random_search_and_flagged(broken: dict) -> None:
    images, labels, epsilon, _, honest = broken["linf"]
    version = attack.AutoAttackConfig(attacks=("apgd-ce", "square"), num_steps=20, num_queries=200)
    _, info = run(functools.partial(quantised, WEIGHTS), images, labels, epsilon=epsilon, version=version)
    white_box = info.robust_accuracy["apgd-ce"]
    assert info.robust.mean() < white_box - 0.1
    assert abs(info.robust.mean() - honest.robust.mean()) < 0.15
    assert {"zero_gradients", "square_beats_white_box", "loss_not_rising"} <= raised_by(info)


def test_model_that_draws_is_flagged() -> None:
    rng, images = np.random.default_rng(0), images_of(6)

    def drawing(image: Array) -> Array:
        return ORACLE.logits(image) + jnp.asarray(rng.normal(size=5), jnp.float32)

    _, info = attack.auto_attack(
        KEY, drawing, images, labels_of(images), epsilon=0.01, version=attack.AutoAttackConfig(attacks=("fgsm",))
    )
    assert "randomised" in raised_by(info)


def test_probabilities_are_refused_or_flagged() -> None:
    images = images_of(6)

    def probabilities(image: Array) -> Array:
        return jax.nn.softmax(ORACLE.logits(image))

    fast = functools.partial(
        attack.auto_attack, KEY, probabilities, images, labels_of(images), epsilon=0.01,
        version=attack.AutoAttackConfig(attacks=("fgsm",)),
    )  # fmt: skip
    with pytest.raises(InputError, match="the model returns probabilities .* expected logits; remove its softmax"):
        fast()
    _, info = fast(allow_probabilities=True)
    assert "probabilities" in raised_by(info)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_few_classes_take_the_margin_instead_of_targeted_dlr_and_say_so(num_classes: int) -> None:
    oracle, images = oracles.linear(num_classes=num_classes), images_of(16)
    labels = np.asarray(jax.vmap(oracle.logits)(images)).argmax(1)
    version = attack.AutoAttackConfig(attacks=("apgd-t",), num_steps=15)
    _, info = attack.auto_attack(KEY, oracle.logits, images, labels, epsilon=0.05, version=version)
    margins = np.array(
        [oracles.linear_margin(oracle, x, int(y), 0.05, "linf") for x, y in zip(images, labels, strict=True)]
    )
    assert np.abs(margins).min() > 1e-3
    np.testing.assert_array_equal(info.robust, margins < 0)
    assert "few_classes" in raised_by(info)
    assert f"{num_classes - 1} target classes were attacked instead of 9" in info.raised[0]


def test_published_settings_are_the_standard_ones() -> None:
    standard = attack.AUTO_ATTACK_VERSIONS["standard"]
    assert standard.attacks == ("apgd-ce", "apgd-t", "fab-t", "square")
    assert (standard.num_steps, standard.num_targets, standard.num_queries) == (100, 9, 5000)
    assert set(attack.AUTO_ATTACK_VERSIONS["fast"].attacks) <= set(attack.PREDICTION_ATTACKS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 255 * images_of()}, r"images must be in \[0, 1\], got pixels from .*; divide them by 255"),
        ({"images": images_of() - 0.5}, r"images must be in \[0, 1\], got pixels from -0\.\d+ to 0\.\d+$"),
        ({"images": images_of().astype(np.uint8)}, "images must be floating point .* divide uint8 by 255"),
        ({"images": np.full((40, *SHAPE), np.nan)}, "images must be in .* got pixels from nan to nan"),
        ({"images": images_of()[0]}, r"images must be \(B, H, W, C\) with at least one image, got shape \(3, 4, 2\)"),
        ({"images": images_of()[:0]}, "at least one image"),
        ({"labels": np.full(40, 5)}, r"label must be in 0 .. 4 \(the model has 5 classes\), got 5"),
        ({"labels": np.full(40, -1)}, "label must be in 0 .. 4"),
        ({"labels": np.zeros(40)}, "label must be an integer class, got dtype float64"),
        ({"labels": np.zeros(39, int)}, r"labels must be one class for each of the 40 images, got shape \(39,\)"),
        (
            {"version": "standart"},
            "unknown version 'standart': expected one of standard, apgd, fast; did you mean 'standard'",
        ),
        ({"norm": "l1"}, "unknown norm 'l1'"),
        ({"epsilon": 8}, r"did you mean 8/255\?"),
        ({"epsilon": -0.1}, "epsilon must be a number >= 0"),
        ({"chunk_size": 0}, "chunk_size must be an integer >= 1"),
        ({"logits_fn": lambda image: image}, r"logits_fn must map one image \(H, W, C\) to logits \(K,\), got shape"),
        ({"logits_fn": lambda image: jnp.full(5, jnp.nan)}, "the logits of the clean images are not finite"),
    ],
)
def test_bad_input_is_one_clear_line(change: dict[str, Any], message: str) -> None:
    given = {"logits_fn": ORACLE.logits, "images": images_of(), "labels": labels_of(images_of()), "epsilon": 0.1}
    with pytest.raises(InputError, match=message) as raised:
        attack.auto_attack(KEY, **(given | change))
    assert "\n" not in str(raised.value)


def test_call_inside_jit_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="call this outside of jit and vmap"):
        jax.jit(lambda z: attack.auto_attack(KEY, ORACLE.logits, z, np.zeros(40, int), epsilon=0.1)[0])(images_of())


def test_unknown_member_and_bad_counts_of_a_version_are_input_errors() -> None:
    with pytest.raises(InputError, match="unknown attack 'apgd': expected one of .*did you mean"):
        attack.AutoAttackConfig(attacks=("apgd",))
    with pytest.raises(InputError, match="num_targets must be an integer >= 1"):
        attack.AutoAttackConfig(num_targets=0)

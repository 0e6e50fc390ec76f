"""What holds for every public function: keys first, one name for one thing, attacks that say whether they succeeded."""

import ast
import importlib
import inspect
import pathlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import jsep
from jsep import attack, explain
from jsep.types import Array, Key

PACKAGE = pathlib.Path(jsep.__file__).parent
KEY = jax.random.key(0)


# Signatures.


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every function and class of jsep without an underscore, of every module, once."""
    for module_info in pkgutil.walk_packages(jsep.__path__, "jsep."):
        module = importlib.import_module(module_info.name)
        for name, value in vars(module).items():
            if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__ and callable(value):
                yield f"{module.__name__}.{name}", inspect.unwrap(value)


FUNCTIONS = {
    name: list(inspect.signature(value).parameters.values())
    for name, value in functions()
    if inspect.isfunction(value) or (inspect.isclass(value) and not issubclass(value, BaseException))
}


def test_key_comes_first_or_is_an_optional_keyword_of_explanations() -> None:
    assert len(FUNCTIONS) > 300
    for name, parameters in FUNCTIONS.items():
        for place, parameter in enumerate(parameters):
            if parameter.name == "key" and parameter.annotation in (Key, Key | None):
                is_optional = parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.default is None
                assert place == 0 or (is_optional and name.startswith("jsep.explain.")), f"{name} takes its key later"


def test_logits_fn_never_takes_variables() -> None:
    for name, parameters in FUNCTIONS.items():
        names = {parameter.name for parameter in parameters}
        assert not {"logits_fn", "variables"} <= names, f"{name}: of (variables, image) it is a model_fn"
        if name.startswith("jsep.evaluate."):
            assert "model_fn" not in names or "variables" in names, f"{name}: without variables it is a logits_fn"


OTHER_NAMES = {
    "num_restarts": "num_starts", "num_bootstrap": "num_resamples", "level": "confidence", "half_width": "radius",
    "std_dev": "sigma", "normalise": "normalize", "kept": "constraint", "has_success": "stop_at_success",
}  # fmt: skip
"""A name that was used for a thing once -> the one name of that thing: radius is the half width of uniform noise, sigma
the standard deviation of Gaussian noise."""

OWN = ("jsep.explain", "jsep.attack", "jsep.landscape", "jsep.models", "jsep.evaluate")


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name.startswith(OWN)])
def test_one_thing_has_one_name(name: str) -> None:
    for parameter in FUNCTIONS[name]:
        assert parameter.name not in OTHER_NAMES, f"{name}: {parameter.name} is {OTHER_NAMES[parameter.name]} here"


def test_library_names_no_flags_in_its_errors() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent.name == "cli":  # where the flags are
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise):
                texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
                texts = [text.replace("ray start --head", "") for text in texts]  # a command of Ray, not of ours
                found = [text for text in texts if re.search(r"(?<![\w-])--[a-z]", text)]
                assert not found, f"{path.name}: {found}"


# Attacks: (adversarial, info), and what info.success means.

ORACLE = oracles.softplus_ridge()
IMAGE = jnp.asarray(np.random.default_rng(0).uniform(0.2, 0.8, (3, 4, 2)), jnp.float32)
OTHER = jnp.asarray(np.random.default_rng(1).uniform(0.2, 0.8, (3, 4, 2)), jnp.float32)
ORDER = np.argsort(-np.asarray(ORACLE.logits(IMAGE)))
LABEL, TARGET = int(ORDER[0]), int(ORDER[1])
MAP_FN = explain.make_map_fn("gradient_x_input", ORACLE.logits, LABEL)
TARGET_MAP = MAP_FN(OTHER)
SETTINGS = {"num_steps": 5, "learning_rate": 0.02, "map_weight": 1e4, "output_weight": 1.0}


PREDICTION: dict[str, Callable[[Array], Any]] = {
    "fgsm": lambda e: attack.fgsm(attack.cross_entropy(ORACLE.logits, LABEL), IMAGE, epsilon=e),
    "pgd": lambda e: attack.pgd(KEY, attack.margin(ORACLE.logits, LABEL), IMAGE, epsilon=e, alpha=e / 2, num_steps=5),
    "apgd": lambda e: attack.apgd(KEY, attack.dlr(ORACLE.logits, LABEL), IMAGE, epsilon=e, num_steps=5),
    "square": lambda e: attack.square(KEY, ORACLE.logits, IMAGE, LABEL, epsilon=e, num_queries=20),
    # Without a budget: as many steps as the largest one would need.
    "fab": lambda e: attack.fab(ORACLE.logits, IMAGE, LABEL, TARGET, num_steps=20 if e else 0),
}  # fmt: skip

PAIR = (MAP_FN, ORACLE.logits, IMAGE)
EXPLANATION: dict[str, Callable[[Array], Any]] = {
    "attack_explanation": lambda e: attack.attack_explanation(KEY, *PAIR, TARGET_MAP, epsilon=e, **SETTINGS),
    "attack_explanation_black_box": lambda e: attack.attack_explanation_black_box(
        KEY, *PAIR, TARGET_MAP, search="random_search", epsilon=e, num_steps=20
    ),
    "auto_explanation_attack": lambda e: attack.auto_explanation_attack(
        KEY, *PAIR, TARGET_MAP, epsilon=e, version="fast", num_steps=4, num_queries=20
    ),
    "untargeted_explanation_attack": lambda e: attack.untargeted_explanation_attack(
        KEY, *PAIR, objective="distance", epsilon=e, num_steps=5
    ),
}  # fmt: skip


def test_every_attack_is_in_the_tables() -> None:
    returns_info = {
        name
        for name in attack.__all__
        if "Info]" in str(getattr(getattr(attack, name), "__annotations__", {}).get("return", ""))
    }
    assert returns_info == {*PREDICTION, *EXPLANATION, "auto_attack"}


@pytest.mark.parametrize("name", PREDICTION)
def test_success_of_an_attack_on_a_prediction_is_misclassification(name: str) -> None:
    run, seen = jax.jit(PREDICTION[name], static_argnums=0), set()
    for epsilon in (0.0, 0.9):
        adversarial, info = run(epsilon)
        assert (adversarial.shape, info.success.shape, info.success.dtype) == (IMAGE.shape, (), jnp.bool_)
        assert bool(info.success) == (int(jnp.argmax(ORACLE.logits(adversarial))) != LABEL)
        seen.add(bool(info.success))
    assert seen == {False, True}


@pytest.mark.parametrize("name", EXPLANATION)
def test_success_of_an_attack_on_an_explanation_is_a_better_image_that_keeps_the_class(name: str) -> None:
    run, seen = jax.jit(EXPLANATION[name], static_argnums=0), set()
    own = MAP_FN(IMAGE)
    for epsilon in (0.0, 0.3):
        adversarial, info = run(epsilon)
        assert (adversarial.shape, info.success.shape, info.success.dtype) == (IMAGE.shape, (), jnp.bool_)
        map_ = MAP_FN(adversarial)
        if name == "untargeted_explanation_attack":
            better = float(jnp.sum((map_ - own) ** 2)) > 0
        else:
            better = float(jnp.mean((map_ - TARGET_MAP) ** 2)) < float(jnp.mean((own - TARGET_MAP) ** 2))
        assert bool(info.success) == better
        assert int(jnp.argmax(ORACLE.logits(adversarial))) == LABEL
        seen.add(bool(info.success))
    assert seen == {False, True}


def test_success_of_auto_attack_has_a_row_an_image() -> None:
    images = np.stack([IMAGE, OTHER])
    labels = np.asarray(jax.vmap(ORACLE.logits)(images)).argmax(1)
    config = attack.AutoAttackConfig(attacks=("apgd-ce",), num_steps=5)
    for epsilon in (0.0, 0.9):
        adversarial, info = attack.auto_attack(KEY, ORACLE.logits, images, labels, epsilon=epsilon, version=config)
        assert (info.success.shape, info.success.dtype) == ((2,), bool)
        predicted = np.asarray(jax.vmap(ORACLE.logits)(adversarial)).argmax(1)
        np.testing.assert_array_equal(info.success, predicted != labels)


def test_success_without_classes_is_a_higher_objective() -> None:
    _, info = attack.pgd(KEY, jnp.sum, IMAGE, epsilon=0.1, alpha=0.1, num_steps=1)
    assert bool(info.success)
    _, info = attack.pgd(KEY, lambda z: 0 * jnp.sum(z), IMAGE, epsilon=0.1, alpha=0.1, num_steps=1)
    assert not bool(info.success)
    with pytest.raises(ValueError, match="stop_at_success needs an objective with a method with_success"):
        attack.apgd(KEY, jnp.sum, IMAGE, epsilon=0.1, stop_at_success=True)


def test_settings_of_the_explanation_attack_may_come_as_one_value() -> None:
    settings = attack.TargetedConfig(**SETTINGS)
    expected, _ = attack.attack_explanation(KEY, *PAIR, TARGET_MAP, epsilon=0.3, **SETTINGS)
    actual, info = attack.attack_explanation(KEY, *PAIR, TARGET_MAP, settings, epsilon=0.3)
    np.testing.assert_array_equal(actual, expected)
    _, shorter = attack.attack_explanation(KEY, *PAIR, TARGET_MAP, settings, num_steps=2, epsilon=0.3)
    np.testing.assert_array_equal(shorter.losses, info.losses[:3])
    with pytest.raises(
        ValueError, match="unknown setting of attack_explanation 'num_step': .*did you mean 'num_steps'"
    ):
        attack.attack_explanation(KEY, *PAIR, TARGET_MAP, settings, num_step=2)

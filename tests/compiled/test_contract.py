"""Every public function: the first call compiles, the next ones with other images, labels, keys and numbers do not."""

import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import hostile
import jax
import numpy as np
import pytest

from jsep import attack, explain, landscape, models

_FAST = {"attack.pgd", "attack.fgsm", "attack.attack_explanation", "explain.smooth_grad", "explain.lrp",
         "landscape.top_eigenvalues", "landscape.slice_1d", "evaluate.deletion_curve", "train.sep_penalty"}  # fmt: skip

_SETTINGS = {
    "attack.square": {"p_init": "lays out the windows of its squares: their sides are lengths"},
}
"""Function -> its numbers that are settings of the program, and why."""

NOT_REACHED = {
    "attack.explanation_attack": "returns an entry of a registry",
    "attack.check_attack_settings": "computes nothing",
    "evaluate.mean_losses_by_cluster": "its good value is not one: NumPy alone",
    "explain.attention_relevance": "needs a vision transformer: below", "explain.attention_rollout": "likewise",
    "explain.grad_cam": "needs feature maps: below", "explain.score_cam": "likewise",
    "models.wrap": "makes a function, and tries it on images",
    "models.load_pretrained": "reads weights", "data.load": "reads files", "data.examples": "reads files",
}  # fmt: skip


@pytest.fixture
def num_compiled() -> Iterator[list[int]]:
    """[the number of programs compiled so far]."""
    found = [0]

    def note(event: str, seconds: float, **_: Any) -> None:
        found[0] += "backend_compile" in event

    jax.monitoring.register_event_duration_secs_listener(note)
    yield found
    jax.monitoring.unregister_event_duration_listener(note)


def varied(name: str, value: Any, turn: int) -> Any:
    """Another good value of the same kind."""
    if name in ("label", "target") and isinstance(value, int):
        return (value + turn) % 3
    if isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        return jax.random.fold_in(value, turn)
    if isinstance(value, float):
        return value * (1 - 0.1 * turn)
    if isinstance(value, np.ndarray | jax.Array) and value.dtype.kind == "f" and value.ndim:
        return value * np.float32(1 - 0.02 * turn)
    return value


def arguments_of(name: str, given: dict[str, Any], turn: int) -> dict[str, Any]:
    """The good arguments, varied; functions are made anew, for another label."""
    label = (hostile.LABEL + turn) % 3
    map_fn = explain.make_map_fn("gradient_x_input", hostile.logits_fn, label)
    made = {
        "map_fn": map_fn,
        "objective": attack.cross_entropy(hostile.logits_fn, label),
        "scalar_fn": landscape.explanation_loss_to(map_fn, hostile.TARGET_MAP * (1 - 0.01 * turn)),
    }
    found = {key: varied(key, value, turn) for key, value in given.items() if key not in _SETTINGS.get(name, {})}
    found |= {key: value for key, value in given.items() if key in _SETTINGS.get(name, {})}
    if name == "attack.targeted_dlr":
        return given
    return found | {key: value for key, value in made.items() if key in found and callable(given[key])}


def counts_of(call: Callable[[int], Any], num_compiled: list[int], turns: int = 4) -> list[int]:
    counts = []
    for turn in range(turns):
        before = num_compiled[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            jax.block_until_ready(hostile.numbers_of(call(turn)))
        counts.append(num_compiled[0] - before)
    return counts


NAMES = [name for name, each in hostile.functions().items() if not inspect.isclass(each) and name not in NOT_REACHED]


@pytest.mark.parametrize("name", [n if n in _FAST else pytest.param(n, marks=pytest.mark.slow) for n in NAMES])
def test_only_the_first_call_compiles(name: str, num_compiled: list[int]) -> None:
    function = hostile.functions()[name]
    given, missing = hostile.good_arguments(name, function)
    assert not missing
    counts = counts_of(lambda turn: function(**arguments_of(name, given, turn)), num_compiled)
    assert counts[1:] == [0, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grad_cam", "score_cam", "attention_rollout", "attention_relevance"])
def test_methods_that_need_a_kind_of_model_compile_once(method: str, num_compiled: list[int]) -> None:
    kind, options = ("vit_tiny", {"patch_size": 4}) if method.startswith("attention") else ("convnet", {})
    del options
    net = models.create(kind, num_classes=3, input_shape=(16, 16, 3))
    variables = models.init(hostile.KEY, net, (16, 16, 3))
    images = np.random.default_rng(0).uniform(size=(4, 16, 16, 3)).astype(np.float32)

    def call(turn: int) -> Any:
        return getattr(explain, method)(models.logits_fn(net, variables), images[turn], turn % 3)

    counts = counts_of(call, num_compiled)
    assert counts[0] >= 1
    assert counts[1:] == [0, 0, 0]


@pytest.mark.slow
def test_a_repeated_call_keeps_nothing() -> None:
    net = models.ConvNet(num_classes=3, widths=(4, 6))
    logits_fn = models.logits_fn(net, models.init(hostile.KEY, net, (8, 8, 1)))
    images = np.random.default_rng(0).uniform(size=(300, 8, 8, 1)).astype(np.float32)

    def call(turn: int) -> None:
        objective = attack.cross_entropy(lambda z: logits_fn(z), turn % 3)
        attack.pgd(jax.random.key(turn), objective, images[turn], epsilon=0.1, alpha=0.05, num_steps=2)

    for turn in range(20):
        call(turn)
    arrays = len(jax.live_arrays())
    for turn in range(20, 300):
        call(turn)
    assert len(jax.live_arrays()) <= arrays

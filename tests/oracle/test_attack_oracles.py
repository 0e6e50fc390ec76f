"""The attacks of the ensemble against independent implementations on the same weights and images: foolbox, torchattacks
(`make test-slow` installs both) and the reference implementation of AutoAttack (used where `autoattack` is on the
path)."""

import copy
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import attack, data, models, train
from jsep.cli import torch_peers

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

torch = pytest.importorskip("torch", reason="needs the extra: pip install -e '.[oracle]'")

NUM_IMAGES = 200
BUDGETS = {"linf": 0.1, "l2": 0.6}
NUM_QUERIES = 1000


class Trained(NamedTuple):
    model_fn: Any
    variables: Any
    twin: Any
    images: np.ndarray
    labels: np.ndarray


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A ConvNet trained adversarially a little on the digits, its twin, and 200 test images."""
    digits = data.load("digits", split="train")
    info = digits.info
    model = models.create("convnet", num_classes=10, input_shape=(8, 8, 1), mean=info.mean, std=info.std)
    config = train.TrainConfig(
        objective="mat", attack=train.PgdConfig(epsilon=0.1, alpha=0.05, num_steps=3), epochs=4, batch_size=64,
        optimizer=train.OptimizerConfig("adamw", 3e-3, "constant"),
    )  # fmt: skip
    variables = train.fit(jax.random.key(0), model, digits, config).variables
    test = data.load("digits", split="test")
    twin = torch_peers.twin(model, jax.device_get(variables))
    return Trained(models.model_fn(model), variables, twin, test.as_float(slice(NUM_IMAGES)), test.labels[:NUM_IMAGES])


def robust(trained: Trained, found: np.ndarray, norm: str) -> np.ndarray:
    """(B,) bool: correct when clean, and at the found image unless that is outside of the budget or the box."""
    predict = jax.jit(lambda images: jnp.argmax(jax.vmap(lambda z: trained.model_fn(trained.variables, z))(images), 1))
    change = (found.astype(np.float64) - trained.images).reshape(len(found), -1)
    size = np.abs(change).max(1) if norm == "linf" else np.linalg.norm(change, axis=1)
    valid = (size <= BUDGETS[norm] * (1 + 1e-5) + 1e-6) & (found.min((1, 2, 3)) >= 0) & (found.max((1, 2, 3)) <= 1)
    clean = np.asarray(predict(trained.images)) == trained.labels
    return clean & ~(valid & (np.asarray(predict(found)) != trained.labels))


def by_us(trained: Trained, name: str, norm: str) -> np.ndarray:
    version = attack.AutoAttackConfig(attacks=(name,), num_queries=NUM_QUERIES)
    found, info = attack.auto_attack(
        jax.random.key(0), functools.partial(trained.model_fn, trained.variables), trained.images, trained.labels,
        norm=norm, epsilon=BUDGETS[norm], version=version, chunk_size=100,
    )  # fmt: skip
    np.testing.assert_array_equal(robust(trained, found, norm), info.robust)
    return info.robust


def assert_same_verdicts(ours: np.ndarray, theirs: np.ndarray) -> None:
    print(f"ours {ours.mean():.3f}, theirs {theirs.mean():.3f}, agreement {np.mean(ours == theirs):.3f}")
    assert 0.1 < ours.mean() < 0.9, "the budget decides nothing"
    assert abs(ours.mean() - theirs.mean()) <= 0.005 + 1e-9  # one image of 200
    assert np.mean(ours == theirs) >= 0.99


def assert_at_least_as_strong(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Square: our windows touch every border, theirs leave out the last position, one of eight on such images."""
    print(f"ours {ours.mean():.3f}, theirs {theirs.mean():.3f}, agreement {np.mean(ours == theirs):.3f}")
    assert 0.1 < ours.mean() < 0.9, "the budget decides nothing"
    assert np.sum(ours & ~theirs) <= 1  # one image of 200, by the luck of a random search
    assert np.mean(ours == theirs) >= 0.98


@pytest.mark.long
@pytest.mark.parametrize("norm", attack.NORMS)
@pytest.mark.parametrize("name", ["apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square"])
def test_member_agrees_with_the_reference_implementation(trained: Trained, name: str, norm: str) -> None:
    reference = pytest.importorskip("autoattack", reason="the reference implementation is not on the path")
    adversary = reference.AutoAttack(
        trained.twin, norm={"linf": "Linf", "l2": "L2"}[norm], eps=BUDGETS[norm], seed=0, verbose=False, device="cpu"
    )
    adversary.attacks_to_run, adversary.square.n_queries = [name], NUM_QUERIES
    adversary.apgd.n_restarts = adversary.fab.n_restarts = 1
    images, labels = torch_peers.to_torch(trained.images, trained.labels)
    found = torch_peers.from_torch(adversary.run_standard_evaluation(images, labels, bs=100))
    compare = assert_at_least_as_strong if name == "square" else assert_same_verdicts
    compare(by_us(trained, name, norm), robust(trained, found, norm))


@pytest.mark.parametrize(
    "name", ["apgd-ce", *(pytest.param(n, marks=pytest.mark.long) for n in ("apgd-t", "fab-t", "square"))]
)
def test_member_agrees_with_torchattacks(trained: Trained, name: str) -> None:
    peer = pytest.importorskip("torchattacks")
    settings = {"norm": "Linf", "eps": BUDGETS["linf"], "seed": 0}
    adversary = {
        "apgd-ce": lambda: peer.APGD(trained.twin, steps=100, loss="ce", **settings),
        "apgd-t": lambda: peer.APGDT(trained.twin, steps=100, n_classes=10, **settings),
        "fab-t": lambda: peer.FAB(trained.twin, steps=100, n_classes=10, multi_targeted=True, **settings),
        # The schedule of the ensemble, whatever the number of queries.
        "square": lambda: peer.Square(trained.twin, n_queries=NUM_QUERIES, resc_schedule=False, **settings),
    }[name]()
    found = torch_peers.from_torch(adversary(*torch_peers.to_torch(trained.images, trained.labels)))
    compare = assert_at_least_as_strong if name == "square" else assert_same_verdicts
    compare(by_us(trained, name, "linf"), robust(trained, found, "linf"))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("norm", attack.NORMS)
def test_fgsm_equals_foolbox(trained: Trained, norm: str) -> None:
    """In float64: the gradient of a sure prediction is a small difference of numbers near 1."""
    foolbox = pytest.importorskip("foolbox")
    kind = {"linf": foolbox.attacks.LinfFastGradientAttack, "l2": foolbox.attacks.L2FastGradientAttack}[norm]
    model = foolbox.PyTorchModel(copy.deepcopy(trained.twin).double(), bounds=(0, 1))
    images, labels = torch_peers.to_torch(trained.images.astype(np.float64), trained.labels)
    theirs = torch_peers.from_torch(kind(random_start=False)(model, images, labels, epsilons=BUDGETS[norm])[1])
    variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), trained.variables)

    @jax.jit
    def ours(images: Any) -> Any:
        def one(image: Any, label: Any) -> Any:
            objective = attack.cross_entropy(lambda z: trained.model_fn(variables, z), label)
            return attack.fgsm(objective, image, norm=norm, epsilon=BUDGETS[norm])[0]

        return jax.vmap(one)(images, trained.labels)

    # A pixel whose derivative is at rounding error may have either sign.
    assert np.mean(np.abs(np.asarray(ours(trained.images.astype(np.float64))) - theirs) > 1e-6) < 1e-3


def test_fab_finds_smaller_perturbations_than_deepfool_of_foolbox(trained: Trained) -> None:
    foolbox = pytest.importorskip("foolbox")
    model = foolbox.PyTorchModel(trained.twin, bounds=(0, 1))
    images, labels = torch_peers.to_torch(trained.images, trained.labels)
    theirs = foolbox.attacks.L2DeepFoolAttack(steps=100)(model, images, labels, epsilons=None)[0]
    theirs_size = np.linalg.norm((torch_peers.from_torch(theirs) - trained.images).reshape(NUM_IMAGES, -1), axis=1)

    @jax.jit
    def nearest(images: Any) -> Any:
        def one(image: Any, label: Any) -> Any:
            def logits_fn(z: Any) -> Any:
                return trained.model_fn(trained.variables, z)

            targets = jnp.argsort(-jnp.where(jnp.arange(10) == label, -jnp.inf, logits_fn(image)))[:3]
            run = jax.vmap(lambda target: attack.fab(logits_fn, image, label, target, norm="l2", num_steps=50)[1])
            return jnp.min(run(targets).distance)

        return jax.vmap(one)(images, trained.labels)

    ours = np.asarray(nearest(trained.images))
    wrong = theirs_size == 0
    assert np.all(ours[wrong] == 0)
    print(f"median l2 distance: FAB {np.median(ours[~wrong]):.3f}, DeepFool {np.median(theirs_size[~wrong]):.3f}")
    assert np.mean(ours[~wrong] <= theirs_size[~wrong] * 1.01) > 0.95

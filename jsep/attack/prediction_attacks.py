"""The attacks of AutoAttack, and simpler ones, each as a function of one image with its published settings."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jsep.attack.apgd import apgd
from jsep.attack.fab import fab
from jsep.attack.fgsm import fgsm
from jsep.attack.losses import (
    LOSSES,
    Loss,
    PredictionObjective,
    cross_entropy,
    targeted_dlr_loss,
    targeted_margin_loss,
)
from jsep.attack.pgd import pgd
from jsep.attack.square import square
from jsep.checks import check_choice, check_count
from jsep.compiled import depends_on
from jsep.types import Array, Key, LogitsFn


@dataclasses.dataclass(frozen=True)
class AutoAttackConfig:
    """A configuration of `auto_attack`: its attacks in order, and their lengths.

    attacks: keys of `PREDICTION_ATTACKS`; num_steps: of APGD and FAB; num_targets: number of most likely other classes
      that a targeted attack tries in turn; num_queries: of Square; pgd_steps: of PGD, with a step length of a quarter
      of the budget.
    """

    attacks: tuple[str, ...] = ("apgd-ce", "apgd-t", "fab-t", "square")
    num_steps: int = 100
    num_targets: int = 9
    num_queries: int = 5000
    pgd_steps: int = 20

    def __post_init__(self) -> None:
        for attack in self.attacks:
            check_choice("attack", attack, PREDICTION_ATTACKS)
        for name in ("num_steps", "num_targets", "num_queries", "pgd_steps"):
            check_count(name, getattr(self, name))


Run = Callable[[Key, LogitsFn, Array, Array, Array, str, Any, AutoAttackConfig], tuple[Array, Array]]
"""(key, logits_fn, image, label, target, norm, epsilon, config) -> (adversarial, best objective after each step (T,));
T is 0 if the attack records no objectives. `target` is one of the other classes."""


@dataclasses.dataclass(frozen=True)
class PredictionAttack:
    """An attack that `auto_attack` can run.

    run: the attack on one image, see `Run`; targeted: whether it is run for several target classes in turn.
    """

    run: Run
    targeted: bool = False


def _untraced(adversarial: Array) -> tuple[Array, Array]:
    return adversarial, jnp.zeros(0, adversarial.dtype)


def _fgsm(
    key: Key,
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    target: Array,
    norm: str,
    epsilon: Any,
    config: AutoAttackConfig,
) -> tuple[Array, Array]:
    return _untraced(fgsm(cross_entropy(logits_fn, label), image, norm=norm, epsilon=epsilon)[0])


def _pgd(
    key: Key,
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    target: Array,
    norm: str,
    epsilon: Any,
    config: AutoAttackConfig,
) -> tuple[Array, Array]:
    objective, alpha = cross_entropy(logits_fn, label), epsilon / 4
    settings = {"norm": norm, "epsilon": epsilon, "alpha": alpha, "num_steps": config.pgd_steps}
    return _untraced(pgd(key, objective, image, **settings)[0])


def _make_apgd(make_loss: Callable[[int, Array], Loss]) -> Run:
    """APGD on the loss that `make_loss` returns for (number of classes, target)."""

    def run(
        key: Key,
        logits_fn: LogitsFn,
        image: Array,
        label: Array,
        target: Array,
        norm: str,
        epsilon: Any,
        config: AutoAttackConfig,
    ) -> tuple[Array, Array]:
        num_classes = jax.eval_shape(logits_fn, image).shape[-1]
        objective = PredictionObjective(logits_fn, label, make_loss(num_classes, target))
        settings = {"norm": norm, "epsilon": epsilon, "num_steps": config.num_steps}
        adversarial, info = apgd(key, objective, image, stop_at_success=True, **settings)
        return adversarial, info.objectives

    return run


def _fab_t(
    key: Key,
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    target: Array,
    norm: str,
    epsilon: Any,
    config: AutoAttackConfig,
) -> tuple[Array, Array]:
    settings = {"norm": norm, "num_steps": config.num_steps, "stop_within": epsilon}
    return _untraced(fab(logits_fn, image, label, target, **settings)[0])


def _square(
    key: Key,
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    target: Array,
    norm: str,
    epsilon: Any,
    config: AutoAttackConfig,
) -> tuple[Array, Array]:
    settings = {"norm": norm, "epsilon": epsilon, "num_queries": config.num_queries}
    return _untraced(square(key, logits_fn, image, label, **settings)[0])


PREDICTION_ATTACKS: dict[str, PredictionAttack] = {
    "fgsm": PredictionAttack(_fgsm),
    "pgd": PredictionAttack(_pgd),
    "apgd-ce": PredictionAttack(_make_apgd(lambda num_classes, target: LOSSES["cross_entropy"])),
    "apgd-dlr": PredictionAttack(
        _make_apgd(lambda num_classes, target: LOSSES["dlr" if num_classes > 2 else "margin"])
    ),
    "apgd-t": PredictionAttack(
        _make_apgd(
            lambda num_classes, target: targeted_dlr_loss(target) if num_classes > 3 else targeted_margin_loss(target)
        ),
        targeted=True,
    ),
    "fab-t": PredictionAttack(_fab_t, targeted=True),
    "square": PredictionAttack(_square),
}
"""name -> attack that `AutoAttackConfig.attacks` may name. With too few classes for its DLR loss an attack maximises
the margin, which needs two."""

depends_on(PREDICTION_ATTACKS)

AUTO_ATTACK_VERSIONS: dict[str, AutoAttackConfig] = {
    "standard": AutoAttackConfig(),
    "apgd": AutoAttackConfig(attacks=("apgd-ce", "apgd-t")),
    "fast": AutoAttackConfig(attacks=("apgd-ce", "apgd-t", "square"), num_steps=25, num_targets=3, num_queries=250),
}
"""version of AutoAttack -> its configuration. "standard" has the published settings; "apgd" is its first two attacks,
which break nearly all images that it breaks unless gradients are masked; "fast" is for CPUs. Both give an upper bound
on the robust accuracy of "standard"."""

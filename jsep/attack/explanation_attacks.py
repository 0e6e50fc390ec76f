"""The attacks on explanations that an evaluation can run, by name, each with its configuration and properties.

A new attack is one file with a function of one pair, its configuration and an `ExplanationAttack`, and one line in
`EXPLANATION_ATTACKS`. Other packages set `attack.EXPLANATION_ATTACKS["mine"] = attack.ExplanationAttack(run,
MineConfig)` before a configuration names it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from jsep.attack.auto_explanation import (
    AUTO_EXPLANATION_VERSIONS,
    auto_explanation_attack,
    auto_explanation_members,
    num_search_steps,
)
from jsep.attack.explanation import TargetedConfig, attack_explanation
from jsep.attack.explanation_black_box import BLACK_BOX_SEARCHES, attack_explanation_black_box
from jsep.attack.explanation_search import OnStep
from jsep.checks import InputError, check_choice, check_count
from jsep.compiled import depends_on
from jsep.types import Array, Key, LogitsFn, MapFn


class AttackRecord(NamedTuple):
    """The report of an explanation attack on a pair besides the adversarial image; the evaluation measures the rest.

    losses: (S,) explanation loss of the attacked method along the attack.
    member_losses: (M,) lowest loss of each ensemble member over images that keep the output; None for an attack without
      members, for which the lowest of `losses` counts, whether the output is kept or not.
    warnings: (5,) bool, the fields of `ExplanationWarnings`; None for an attack without warnings.
    num_non_finite: () int, number of iterates with a non-finite loss or gradient; None: counted from `losses`.
    """

    losses: Array
    member_losses: Array | None = None
    warnings: Array | None = None
    num_non_finite: Array | None = None


@dataclasses.dataclass(frozen=True)
class PairProblem:
    """One pair of a victim and a target map, with the budget: the input of every explanation attack.

    map_fn: image -> map (H, W) of the attacked explanation for a fixed class; logits_fn: image -> logits (K,); image:
    the victim, (H, W, C) in [0, 1]; target_map: (H, W); epsilon: budget in pixel units, None for unbounded; norm: of
    the budget; softmax_tolerance: the largest change of a softmax entry, None if only the predicted class is kept.
    """

    map_fn: MapFn
    logits_fn: LogitsFn
    image: Array
    target_map: Array
    epsilon: float | None = None
    norm: str = "linf"
    softmax_tolerance: float | None = None

    @property
    def radius(self) -> float:
        """The budget for an attack that needs a ball: without a budget the whole box [0, 1], under linf."""
        return 1.0 if self.epsilon is None else self.epsilon


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """How to repeat an attack and record its iterates.

    visit: (key, PairProblem, configuration, S steps) -> (iterates at these steps (S, H, W, C), their losses (S,)); with
      the same key and configuration it repeats the attack exactly.
    num_steps: configuration -> the last step that can be recorded.
    """

    visit: Callable[[Key, PairProblem, Any, Sequence[int]], tuple[Array, Array]]
    num_steps: Callable[[Any], int]


def _no_members(config: Any) -> tuple[str, ...]:
    """() for an attack without ensemble members."""
    return ()


def _needs_none(config: Any, norm: str) -> bool:
    """False for an attack that can be unbounded."""
    return False


@dataclasses.dataclass(frozen=True)
class ExplanationAttack:
    """An entry of `EXPLANATION_ATTACKS`: an attack on explanations and its properties.

    run: (key, PairProblem, configuration, on_step) -> (adversarial (H, W, C), AttackRecord), in pure JAX; `on_step` is
      called as in `attack_explanation`, or never.
    config: class of the configuration, a frozen dataclass with a default for every field.
    num_steps: configuration -> number of steps on one pair that are reported to `on_step`.
    differentiable: whether it differentiates the map; if not, it can attack every explanation method.
    needs_ball: (configuration, norm) -> whether it needs a budget.
    members: configuration -> names of the columns of `member_losses`, () for an attack without members.
    warns: whether its record has warnings.
    trajectory: how to record its iterates; None if that is not possible.
    """

    run: Callable[[Key, PairProblem, Any, OnStep | None], tuple[Array, AttackRecord]]
    config: type
    num_steps: Callable[[Any], int]
    differentiable: bool = True
    needs_ball: Callable[[Any, str], bool] = _needs_none
    members: Callable[[Any], tuple[str, ...]] = _no_members
    warns: bool = False
    trajectory: Trajectory | None = None


def _targeted(problem: PairProblem, config: TargetedConfig, key: Key, **more: Any) -> tuple[Array, Any]:
    return attack_explanation(
        key,
        problem.map_fn,
        problem.logits_fn,
        problem.image,
        problem.target_map,
        config,
        epsilon=problem.epsilon,
        norm=problem.norm,
        softmax_tolerance=problem.softmax_tolerance,
        **more,
    )


def _run_targeted(
    key: Key, problem: PairProblem, config: TargetedConfig, on_step: OnStep | None
) -> tuple[Array, AttackRecord]:
    adversarial, info = _targeted(problem, config, key, on_step=on_step)
    return adversarial, AttackRecord(info.losses)


def _visit_targeted(
    key: Key, problem: PairProblem, config: TargetedConfig, steps: Sequence[int]
) -> tuple[Array, Array]:
    _, info = _targeted(problem, config, key, snapshot_steps=steps)
    return info.visited, info.losses[jnp.array(steps)]


@dataclasses.dataclass(frozen=True)
class AutoConfig:
    """The settings of `auto_explanation_attack`: its version, a key of `AUTO_EXPLANATION_VERSIONS`."""

    version: str = "standard"

    def __post_init__(self) -> None:
        check_choice("version", self.version, AUTO_EXPLANATION_VERSIONS)


def _run_auto(key: Key, problem: PairProblem, config: AutoConfig, on_step: OnStep | None) -> tuple[Array, AttackRecord]:
    adversarial, info = auto_explanation_attack(
        key,
        problem.map_fn,
        problem.logits_fn,
        problem.image,
        problem.target_map,
        epsilon=problem.radius,
        norm=problem.norm,
        version=config.version,
        softmax_tolerance=problem.softmax_tolerance,
        on_step=on_step,
    )
    return adversarial, AttackRecord(
        info.losses.ravel(), info.member_losses, jnp.stack(info.warnings), info.num_non_finite
    )


@dataclasses.dataclass(frozen=True)
class BlackBoxConfig:
    """The settings of `attack_explanation_black_box`.

    search: a key of `BLACK_BOX_SEARCHES`; num_steps: >= 0; num_samples: pairs of samples in each step of "evolution".
    """

    search: str = "evolution"
    num_steps: int = 1000
    num_samples: int = 10

    def __post_init__(self) -> None:
        check_choice("search", self.search, BLACK_BOX_SEARCHES)
        check_count("num_steps", self.num_steps, minimum=0)
        check_count("num_samples", self.num_samples)


def _run_black_box(
    key: Key, problem: PairProblem, config: BlackBoxConfig, on_step: OnStep | None
) -> tuple[Array, AttackRecord]:
    adversarial, info = attack_explanation_black_box(
        key,
        problem.map_fn,
        problem.logits_fn,
        problem.image,
        problem.target_map,
        epsilon=problem.radius,
        norm=problem.norm,
        softmax_tolerance=problem.softmax_tolerance,
        on_step=on_step,
        **dataclasses.asdict(config),
    )
    return adversarial, AttackRecord(info.losses, num_non_finite=info.num_non_finite)


def _needs_ball_under_l2(config: Any, norm: str) -> bool:
    return norm != "linf"


EXPLANATION_ATTACKS: dict[str, ExplanationAttack] = {
    "targeted": ExplanationAttack(
        _run_targeted,
        TargetedConfig,
        lambda config: config.num_steps * config.num_starts,
        needs_ball=lambda config, norm: config.needs_ball,
        trajectory=Trajectory(_visit_targeted, lambda config: config.num_steps),
    ),
    "auto": ExplanationAttack(
        _run_auto,
        AutoConfig,
        lambda config: num_search_steps(config.version),
        needs_ball=_needs_ball_under_l2,
        members=lambda config: auto_explanation_members(config.version),
        warns=True,
    ),
    "black_box": ExplanationAttack(
        _run_black_box,
        BlackBoxConfig,
        lambda config: config.num_steps,
        differentiable=False,
        needs_ball=_needs_ball_under_l2,
    ),
}
"""name -> ExplanationAttack: `attack_explanation`, the ensemble, and the black-box searches."""

depends_on(EXPLANATION_ATTACKS)


def explanation_attack(name: str) -> ExplanationAttack:
    """The explanation attack called `name`. Raises InputError, listing the known names, for any other."""
    check_choice("explanation attack", name, EXPLANATION_ATTACKS)
    return EXPLANATION_ATTACKS[name]


def check_attack_settings(name: str, settings: Any, epsilon: float | None, norm: str) -> None:
    """Raises InputError if `settings` is the configuration of another attack, or if a needed budget is missing."""
    entry = explanation_attack(name)
    if not isinstance(settings, entry.config):
        raise InputError(f"explanation attack {name!r} takes a {entry.config.__name__}, got {settings!r}")
    if epsilon is None and entry.needs_ball(settings, norm):
        raise InputError(f"explanation attack {name!r} under {norm} with {settings!r} needs a ball: give epsilon")

"""Attacks on predictions and on explanations.

Every attack returns (adversarial image, info); every info has `success`, () bool, defined in its docstring. All but
`auto_attack`, which takes a batch, are pure functions of one image, batched by `jax.vmap`.
"""

from jsep.arguments import explain_failures
from jsep.attack.apgd import apgd
from jsep.attack.auto_attack import AutoAttackInfo, auto_attack
from jsep.attack.auto_explanation import AUTO_EXPLANATION_VERSIONS, auto_explanation_attack
from jsep.attack.explanation import TargetedConfig, attack_explanation
from jsep.attack.explanation_attacks import (
    EXPLANATION_ATTACKS,
    AttackRecord,
    AutoConfig,
    BlackBoxConfig,
    ExplanationAttack,
    PairProblem,
    check_attack_settings,
    explanation_attack,
)
from jsep.attack.explanation_black_box import attack_explanation_black_box
from jsep.attack.explanation_search import OnStep
from jsep.attack.explanation_untargeted import UNTARGETED_OBJECTIVES, untargeted_explanation_attack
from jsep.attack.explanation_warnings import WARNING_SENTENCES, ExplanationWarnings, warnings_in_words
from jsep.attack.fab import fab
from jsep.attack.fgsm import fgsm
from jsep.attack.losses import LOSSES, cross_entropy, dlr, margin, targeted_dlr
from jsep.attack.norms import NORMS, norm_by_name, project_to_ball_and_box
from jsep.attack.pgd import pgd
from jsep.attack.prediction_attacks import AUTO_ATTACK_VERSIONS, PREDICTION_ATTACKS, AutoAttackConfig
from jsep.attack.reliability import ReliabilityCheck
from jsep.attack.square import square

__all__ = [
    "AUTO_ATTACK_VERSIONS",
    "AUTO_EXPLANATION_VERSIONS",
    "EXPLANATION_ATTACKS",
    "LOSSES",
    "NORMS",
    "PREDICTION_ATTACKS",
    "UNTARGETED_OBJECTIVES",
    "WARNING_SENTENCES",
    "AttackRecord",
    "AutoAttackConfig",
    "AutoAttackInfo",
    "AutoConfig",
    "BlackBoxConfig",
    "ExplanationAttack",
    "ExplanationWarnings",
    "OnStep",
    "PairProblem",
    "ReliabilityCheck",
    "TargetedConfig",
    "apgd",
    "attack_explanation",
    "attack_explanation_black_box",
    "auto_attack",
    "auto_explanation_attack",
    "check_attack_settings",
    "cross_entropy",
    "dlr",
    "explanation_attack",
    "fab",
    "fgsm",
    "margin",
    "norm_by_name",
    "pgd",
    "project_to_ball_and_box",
    "square",
    "targeted_dlr",
    "untargeted_explanation_attack",
    "warnings_in_words",
]

explain_failures(__all__, globals())

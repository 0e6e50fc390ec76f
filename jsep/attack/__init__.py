"""Attacks on predictions and on explanations: pure functions of one image, batched by `jax.vmap`, ascended in one
scan."""

from jsep.attack.apgd import ApgdInfo, apgd
from jsep.attack.auto_attack import AutoAttackInfo, auto_attack
from jsep.attack.explanation import ExplanationAttackInfo, attack_explanation
from jsep.attack.fab import FabInfo, fab
from jsep.attack.fgsm import fgsm
from jsep.attack.losses import LOSSES, cross_entropy, dlr, loss_by_name, margin, targeted_dlr, with_success
from jsep.attack.members import MEMBERS, VERSIONS, Member, Version
from jsep.attack.norms import NORMS, Norm, norm_by_name, project_to_ball_and_box
from jsep.attack.pgd import PgdInfo, pgd
from jsep.attack.reliability import Check
from jsep.attack.square import SquareInfo, square

__all__ = [
    "ApgdInfo",
    "AutoAttackInfo",
    "Check",
    "ExplanationAttackInfo",
    "FabInfo",
    "LOSSES",
    "MEMBERS",
    "Member",
    "NORMS",
    "Norm",
    "PgdInfo",
    "SquareInfo",
    "VERSIONS",
    "Version",
    "apgd",
    "attack_explanation",
    "auto_attack",
    "cross_entropy",
    "dlr",
    "fab",
    "fgsm",
    "loss_by_name",
    "margin",
    "norm_by_name",
    "pgd",
    "project_to_ball_and_box",
    "square",
    "targeted_dlr",
    "with_success",
]

"""Attacks on predictions and on explanations: pure functions of one image, batched by `jax.vmap`, ascended in one
scan."""

from jsep.attack.apgd import ApgdInfo, apgd
from jsep.attack.auto_attack import AutoAttackInfo, auto_attack
from jsep.attack.auto_explanation import (
    BLACK_BOX_MEMBERS,
    EXPLANATION_VERSIONS,
    WHITE_BOX_MEMBERS,
    AutoExplanationInfo,
    WhiteBoxMember,
    auto_explanation_attack,
    auto_explanation_curve,
    member_names,
    num_search_steps,
)
from jsep.attack.explanation import STEPS, ExplanationAttackInfo, attack_explanation
from jsep.attack.explanation_attacks import (
    EXPLANATION_ATTACKS,
    AttackRecord,
    AutoConfig,
    BlackBoxConfig,
    Course,
    ExplanationAttack,
    PairProblem,
    TargetedConfig,
    check_attack_settings,
    explanation_attack,
)
from jsep.attack.explanation_black_box import BLACK_BOX_SEARCHES, BlackBoxInfo, attack_explanation_black_box
from jsep.attack.explanation_search import DIRECTIONS, Best, OnStep, adaptive_search
from jsep.attack.explanation_terms import MAP_LOSSES, KeptOutput, check_logits, kept_output, map_loss_by_name
from jsep.attack.explanation_warnings import WARNING_SENTENCES, ExplanationWarnings, warnings_in_words
from jsep.attack.fab import FabInfo, fab
from jsep.attack.fgsm import fgsm
from jsep.attack.losses import LOSSES, cross_entropy, dlr, loss_by_name, margin, targeted_dlr, with_success
from jsep.attack.members import MEMBERS, VERSIONS, Member, Version
from jsep.attack.norms import NORMS, Norm, norm_by_name, project_to_ball_and_box
from jsep.attack.pgd import PgdInfo, pgd
from jsep.attack.ranking import RANKING_OBJECTIVES, RankingAttackInfo, attack_ranking, mass_centre
from jsep.attack.reliability import Check
from jsep.attack.smallest_budget import SmallestBudgetInfo, smallest_budget
from jsep.attack.square import SquareInfo, square

__all__ = [
    "BLACK_BOX_MEMBERS",
    "BLACK_BOX_SEARCHES",
    "DIRECTIONS",
    "EXPLANATION_ATTACKS",
    "EXPLANATION_VERSIONS",
    "LOSSES",
    "MAP_LOSSES",
    "MEMBERS",
    "NORMS",
    "RANKING_OBJECTIVES",
    "STEPS",
    "VERSIONS",
    "WARNING_SENTENCES",
    "WHITE_BOX_MEMBERS",
    "ApgdInfo",
    "AttackRecord",
    "AutoAttackInfo",
    "AutoConfig",
    "AutoExplanationInfo",
    "Best",
    "BlackBoxConfig",
    "BlackBoxInfo",
    "Check",
    "Course",
    "ExplanationAttack",
    "ExplanationAttackInfo",
    "ExplanationWarnings",
    "FabInfo",
    "KeptOutput",
    "Member",
    "Norm",
    "OnStep",
    "PairProblem",
    "PgdInfo",
    "RankingAttackInfo",
    "SmallestBudgetInfo",
    "SquareInfo",
    "TargetedConfig",
    "Version",
    "WhiteBoxMember",
    "adaptive_search",
    "apgd",
    "attack_explanation",
    "attack_explanation_black_box",
    "attack_ranking",
    "auto_attack",
    "auto_explanation_attack",
    "auto_explanation_curve",
    "check_attack_settings",
    "check_logits",
    "cross_entropy",
    "dlr",
    "explanation_attack",
    "fab",
    "fgsm",
    "kept_output",
    "loss_by_name",
    "map_loss_by_name",
    "margin",
    "mass_centre",
    "member_names",
    "norm_by_name",
    "num_search_steps",
    "pgd",
    "project_to_ball_and_box",
    "smallest_budget",
    "square",
    "targeted_dlr",
    "warnings_in_words",
    "with_success",
]

"""Attacks on predictions and on explanations: pure functions of one image, batched by `jax.vmap`, ascended in one
scan."""

from jsep.attack.explanation import ExplanationAttackInfo, attack_explanation
from jsep.attack.norms import NORMS, Norm, norm_by_name, project_to_ball_and_box
from jsep.attack.pgd import PgdInfo, cross_entropy, pgd

__all__ = [
    "NORMS",
    "ExplanationAttackInfo",
    "Norm",
    "PgdInfo",
    "attack_explanation",
    "cross_entropy",
    "norm_by_name",
    "pgd",
    "project_to_ball_and_box",
]

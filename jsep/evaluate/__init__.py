"""Evaluation: accuracies, explanation robustness on stored pairs, map metrics."""

from jsep.evaluate.accuracy import accuracies, auto_attack_accuracy
from jsep.evaluate.metrics import (
    cosine_similarity,
    effective_pixels,
    explanation_loss,
    relative_reduction,
    scale_free_loss,
    spearman,
    top_k_intersection,
)
from jsep.evaluate.robustness import ExplanationAttackConfig, PairResults, explanation_robustness
from jsep.evaluate.selection import PairIndex, features, load_pairs, save_pairs, select_pairs

__all__ = [
    "ExplanationAttackConfig",
    "PairIndex",
    "PairResults",
    "accuracies",
    "auto_attack_accuracy",
    "cosine_similarity",
    "effective_pixels",
    "explanation_loss",
    "explanation_robustness",
    "features",
    "load_pairs",
    "relative_reduction",
    "save_pairs",
    "scale_free_loss",
    "select_pairs",
    "spearman",
    "top_k_intersection",
]

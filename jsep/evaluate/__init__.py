"""Evaluation: accuracies, explanation robustness on stored pairs, map metrics and their registry.

Metrics by topic: `distances` and `ranks` compare two maps, `concentration` describes one; `stability`, `faithfulness`
and `randomisation` describe an explanation; `metrics` lists the map metrics by name.
"""

from jsep.arguments import explain_failures
from jsep.evaluate.accuracy import (
    Classification,
    accuracies,
    auto_attack_accuracy,
    classification,
    correctly_classified,
)
from jsep.evaluate.attack_trajectory import attack_trajectory, trajectory_steps
from jsep.evaluate.batch_statistics import batch_statistics_accuracy
from jsep.evaluate.cluster_explanations import (
    adjusted_rand_index,
    cluster_explanation_loss,
    mean_losses_by_cluster,
)
from jsep.evaluate.clustering import CLUSTERINGS, SELECTIONS, Groups, make_groups
from jsep.evaluate.comparison import compare_maps, describe_pairs
from jsep.evaluate.concentration import effective_pixels, entropy, gini, split_loss
from jsep.evaluate.distances import (
    cosine_similarity,
    earth_movers_distance,
    explanation_loss,
    pearson,
    relative_reduction,
    scale_free_loss,
    ssim,
    unit_l2_distance,
)
from jsep.evaluate.faithfulness import (
    adversarial_insertion,
    area_under_curve,
    deletion_curve,
    insertion_curve,
    road_curve,
)
from jsep.evaluate.map_diagnostics import map_diagnostics, noise_sensitivity
from jsep.evaluate.metric import GROUPS, LOSS_SCALE, LOSS_UNIT, METRICS, Metric, register
from jsep.evaluate.metrics import MAP_METRICS, PAIR_METRICS
from jsep.evaluate.pair_sampling import pair_sampling_variability
from jsep.evaluate.programs import classification_program, explanation_program
from jsep.evaluate.properties import PropertiesConfig, explanation_properties
from jsep.evaluate.randomisation import permute_weights, randomisation_similarity
from jsep.evaluate.rank_correlation import rank_correlation
from jsep.evaluate.ranks import kendall, spearman, top_k_intersection, top_k_near
from jsep.evaluate.robustness import ExplanationAttackConfig, PairResults, explanation_robustness
from jsep.evaluate.selection import PairIndex, features, load_pairs, pairs_from_dict, save_pairs, select_pairs
from jsep.evaluate.stability import max_sensitivity, neighbours, relative_stability

__all__ = [
    "CLUSTERINGS",
    "GROUPS",
    "LOSS_SCALE",
    "LOSS_UNIT",
    "MAP_METRICS",
    "METRICS",
    "PAIR_METRICS",
    "SELECTIONS",
    "Classification",
    "ExplanationAttackConfig",
    "Groups",
    "Metric",
    "PairIndex",
    "PairResults",
    "PropertiesConfig",
    "accuracies",
    "adjusted_rand_index",
    "adversarial_insertion",
    "area_under_curve",
    "attack_trajectory",
    "auto_attack_accuracy",
    "batch_statistics_accuracy",
    "classification",
    "classification_program",
    "cluster_explanation_loss",
    "compare_maps",
    "correctly_classified",
    "cosine_similarity",
    "deletion_curve",
    "describe_pairs",
    "earth_movers_distance",
    "effective_pixels",
    "entropy",
    "explanation_loss",
    "explanation_program",
    "explanation_properties",
    "explanation_robustness",
    "features",
    "gini",
    "insertion_curve",
    "kendall",
    "load_pairs",
    "make_groups",
    "map_diagnostics",
    "max_sensitivity",
    "mean_losses_by_cluster",
    "neighbours",
    "noise_sensitivity",
    "pair_sampling_variability",
    "pairs_from_dict",
    "pearson",
    "permute_weights",
    "randomisation_similarity",
    "rank_correlation",
    "register",
    "relative_reduction",
    "relative_stability",
    "road_curve",
    "save_pairs",
    "scale_free_loss",
    "select_pairs",
    "spearman",
    "split_loss",
    "ssim",
    "top_k_intersection",
    "top_k_near",
    "trajectory_steps",
    "unit_l2_distance",
]

explain_failures(__all__, globals())

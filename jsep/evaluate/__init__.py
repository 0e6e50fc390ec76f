"""Evaluation: accuracies, explanation robustness on stored pairs, metrics of maps, statistics.

Metrics by topic: `distances` and `ranks` of two maps, `concentration` of one, `stability`, `faithfulness` and
`randomisation` of an explanation; `metrics` has those of maps by name.
"""

from jsep.evaluate.accuracy import accuracies, auto_attack_accuracy, correctly_classified
from jsep.evaluate.attack_trajectory import AttackTrajectory, attack_trajectory, trajectory_steps
from jsep.evaluate.batch_statistics import batch_statistics_accuracy
from jsep.evaluate.cluster_explanations import adjusted_rand_index, cluster_explanation_loss
from jsep.evaluate.clustering import CLUSTERINGS, SELECTIONS, Groups, make_groups
from jsep.evaluate.comparison import PER_PAIR, compare_maps, describe_pairs
from jsep.evaluate.concentration import LossSplit, effective_pixels, entropy, gini, split_loss
from jsep.evaluate.correlation import Correlation, correlation, correlation_study, partial_correlation
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
from jsep.evaluate.metrics import MAP_METRICS, PAIR_METRICS
from jsep.evaluate.pair_sampling import pair_sampling_variability
from jsep.evaluate.properties import PropertiesConfig, explanation_properties
from jsep.evaluate.randomisation import permute_weights, randomisation_similarity
from jsep.evaluate.rank_correlation import RankCorrelation, rank_correlation
from jsep.evaluate.ranks import kendall, spearman, top_k_intersection, top_k_near
from jsep.evaluate.robustness import ExplanationAttackConfig, PairResults, explanation_robustness
from jsep.evaluate.selection import PairIndex, features, load_pairs, pairs_from_dict, save_pairs, select_pairs
from jsep.evaluate.stability import RelativeStability, max_sensitivity, neighbours, relative_stability
from jsep.evaluate.statistics import (
    DEGRADED_MARGIN,
    Interval,
    PairedComparison,
    bootstrap_interval,
    crossed_interval,
    holm,
    is_degraded,
    paired_comparison,
    proportion_interval,
    t_interval,
)

__all__ = [
    "CLUSTERINGS",
    "DEGRADED_MARGIN",
    "MAP_METRICS",
    "PAIR_METRICS",
    "PER_PAIR",
    "SELECTIONS",
    "AttackTrajectory",
    "Correlation",
    "ExplanationAttackConfig",
    "Groups",
    "Interval",
    "LossSplit",
    "PairIndex",
    "PairResults",
    "PairedComparison",
    "PropertiesConfig",
    "RankCorrelation",
    "RelativeStability",
    "accuracies",
    "adversarial_insertion",
    "area_under_curve",
    "attack_trajectory",
    "auto_attack_accuracy",
    "batch_statistics_accuracy",
    "bootstrap_interval",
    "compare_maps",
    "correctly_classified",
    "correlation",
    "correlation_study",
    "trajectory_steps",
    "cosine_similarity",
    "crossed_interval",
    "deletion_curve",
    "describe_pairs",
    "earth_movers_distance",
    "effective_pixels",
    "entropy",
    "explanation_loss",
    "explanation_properties",
    "explanation_robustness",
    "features",
    "gini",
    "holm",
    "insertion_curve",
    "is_degraded",
    "kendall",
    "adjusted_rand_index",
    "load_pairs",
    "pairs_from_dict",
    "make_groups",
    "max_sensitivity",
    "neighbours",
    "noise_sensitivity",
    "paired_comparison",
    "partial_correlation",
    "pearson",
    "permute_weights",
    "map_diagnostics",
    "proportion_interval",
    "randomisation_similarity",
    "rank_correlation",
    "relative_reduction",
    "relative_stability",
    "road_curve",
    "save_pairs",
    "scale_free_loss",
    "select_pairs",
    "spearman",
    "split_loss",
    "ssim",
    "pair_sampling_variability",
    "t_interval",
    "top_k_intersection",
    "top_k_near",
    "unit_l2_distance",
    "cluster_explanation_loss",
]

"""Evaluation: accuracies, explanation robustness on stored pairs, metrics of maps and their register.

The metrics by idea: `distances` and `ranks` of two maps, `concentration` of one, `stability`, `faithfulness` and
`randomisation` of an explanation; `metrics` has those of maps by name.
"""

from jsep.evaluate.accuracy import accuracies, auto_attack_accuracy, check_classes, correct
from jsep.evaluate.attack_course import AttackCourse, attack_course, course_steps
from jsep.evaluate.batch_statistics import batch_statistics_accuracy
from jsep.evaluate.chunk_store import ChunkStore
from jsep.evaluate.clustering import CLUSTERINGS, SELECTIONS, Groups, k_medoids, make_groups
from jsep.evaluate.clusters import label_agreement, within_and_between
from jsep.evaluate.comparison import PER_PAIR, compare_maps, describe_pairs
from jsep.evaluate.concentration import LossSplit, effective_pixels, entropy, gini, split_loss
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
from jsep.evaluate.draws import PAIR_COUNTS, summarise_draws
from jsep.evaluate.faithfulness import (
    adversarial_insertion,
    area_under,
    deletion_curve,
    impute,
    insertion_curve,
    pixel_ranks,
    road_curve,
)
from jsep.evaluate.metric import GROUPS, LOSS_SCALE, METRICS, Metric, register
from jsep.evaluate.metrics import DISTANCES, MAP_METRICS, PAIR_METRICS
from jsep.evaluate.probe import noise_sensitivity, probe_maps
from jsep.evaluate.properties import PropertiesConfig, explanation_properties
from jsep.evaluate.randomisation import permuted, randomisation_similarity
from jsep.evaluate.rank_correlation import RankCorrelation, rank_correlation
from jsep.evaluate.ranks import kendall, spearman, top_k_intersection, top_k_near
from jsep.evaluate.robustness import ExplanationAttackConfig, PairResults, explanation_robustness
from jsep.evaluate.selection import PairIndex, features, load_pairs, pairs_from_dict, save_pairs, select_pairs
from jsep.evaluate.stability import RelativeStability, max_sensitivity, neighbours, relative_stability

__all__ = [
    "CLUSTERINGS",
    "DISTANCES",
    "GROUPS",
    "LOSS_SCALE",
    "MAP_METRICS",
    "METRICS",
    "PAIR_COUNTS",
    "PAIR_METRICS",
    "PER_PAIR",
    "SELECTIONS",
    "AttackCourse",
    "ChunkStore",
    "ExplanationAttackConfig",
    "Groups",
    "LossSplit",
    "Metric",
    "PairIndex",
    "PairResults",
    "PropertiesConfig",
    "RankCorrelation",
    "RelativeStability",
    "accuracies",
    "adversarial_insertion",
    "area_under",
    "attack_course",
    "auto_attack_accuracy",
    "batch_statistics_accuracy",
    "check_classes",
    "compare_maps",
    "correct",
    "course_steps",
    "cosine_similarity",
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
    "impute",
    "insertion_curve",
    "k_medoids",
    "kendall",
    "label_agreement",
    "load_pairs",
    "pairs_from_dict",
    "make_groups",
    "max_sensitivity",
    "neighbours",
    "noise_sensitivity",
    "pearson",
    "permuted",
    "pixel_ranks",
    "probe_maps",
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
    "summarise_draws",
    "top_k_intersection",
    "top_k_near",
    "unit_l2_distance",
    "within_and_between",
]

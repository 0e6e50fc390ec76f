"""Which metrics the tables and charts show: the only file of this folder that names them.

Their headings, units, scales and directions are those of `evaluate.METRICS`.
"""

from typing import NamedTuple

from jsep import evaluate
from jsep.evaluate.metric import LOSS_UNIT, PAPER, SCALE_FREE, Metric

CLEAN, ROBUST = "clean_accuracy", "robust_accuracy"
LOSS_START, LOSS_END = "explanation_loss_start", "explanation_loss_end"
SCALE_FREE_START, SCALE_FREE_END = "scale_free_loss_start", "scale_free_loss_end"
REMOVED, LABEL_KEPT = "relative_reduction", "label_kept"
COSINE_START, COSINE_END = "cosine_start", "cosine_end"
ONE_MINUS_CONCORDANCE_START, ONE_MINUS_CONCORDANCE_END = "one_minus_concordance_start", "one_minus_concordance_end"
CHANCE_START, CHANCE_END = "chance_loss_start", "chance_loss_end"
EFFECTIVE_PIXELS, NOISE_SENSITIVITY, TRAIN_SECONDS = "effective_pixels", "noise_sensitivity", "train_seconds"
SEP_WEIGHT, SCALE_FREE_SEP_WEIGHT = "sep_weight", "sep_weight_scale_free"
PENALTY = "sep_penalty"

WEIGHTS = (
    Metric(
        SEP_WEIGHT, "SEP weight", "", 1.0, None, PAPER, "λ of the paper, the factor of the SEP term in the training "
        "loss: positive flattens the explanation-loss landscape, negative sharpens it, 0 is training without it.",
    ),
    Metric(
        SCALE_FREE_SEP_WEIGHT, f"SEP weight /{LOSS_UNIT}", "", 1.0, None, SCALE_FREE,
        "The SEP weight per unit of N²·MSE: the same training pressure at any image size.",
    ),
)  # fmt: skip
"""Fields of a row that are displayed like metrics."""

COLUMNS = tuple(
    column
    for group in evaluate.GROUPS
    for column in (*WEIGHTS, *evaluate.METRICS.values())
    if column.group == group and column.in_tables
)
"""Every column of the study tables, in order: the metrics registered in `evaluate`, and the weights of the row."""

INTERVALS = (
    CLEAN, ROBUST, "auto_attack_accuracy", LOSS_START, LOSS_END, REMOVED,
    ONE_MINUS_CONCORDANCE_START, ONE_MINUS_CONCORDANCE_END, COSINE_END, EFFECTIVE_PIXELS,
)  # fmt: skip
"""The metrics of the short table of intervals."""

DIFFERENCES = (CLEAN, ROBUST, SCALE_FREE_START, SCALE_FREE_END, REMOVED, EFFECTIVE_PIXELS)
"""The metrics whose differences between runs a comparison shows."""

PRECISION = (CLEAN, ROBUST, LOSS_START, LOSS_END, REMOVED, EFFECTIVE_PIXELS, NOISE_SENSITIVITY)
"""The metrics compared between two numerical precisions."""

MANY_MODELS = (SCALE_FREE_END, ONE_MINUS_CONCORDANCE_END, REMOVED, COSINE_END)
"""The measures of explanation robustness correlated with robust accuracy, one panel of the figure each."""

OF_SETTING = (CLEAN, ROBUST, SCALE_FREE_START, *MANY_MODELS, EFFECTIVE_PIXELS)
OF_WEIGHT = (
    CLEAN,
    ROBUST,
    SCALE_FREE_START,
    SCALE_FREE_END,
    REMOVED,
    COSINE_END,
    EFFECTIVE_PIXELS,
    ONE_MINUS_CONCORDANCE_END,
)
OF_CARD = (
    CLEAN, ROBUST, "auto_attack_accuracy", LOSS_START, LOSS_END, REMOVED, ONE_MINUS_CONCORDANCE_END, COSINE_END,
    EFFECTIVE_PIXELS,
)  # fmt: skip
OF_MATRIX = (LOSS_START, LOSS_END, REMOVED, ONE_MINUS_CONCORDANCE_END)


class Ends(NamedTuple):
    """One panel with two metrics on one axis: before an attack (None for none) and after it."""

    title: str
    label: str
    before: str | None
    after: str


OVERVIEW = (
    Ends("Explanation loss", f"○ start  ● end  [{LOSS_UNIT}]", LOSS_START, LOSS_END),
    Ends("Accuracy", "○ clean  ● robust  [%]", CLEAN, ROBUST),
    Ends("Confound: size of map", "effective pixels [px]", None, EFFECTIVE_PIXELS),
    Ends("Free of scale: cosine", "○ start  ● end", COSINE_START, COSINE_END),
)

OVER_WEIGHTS = (
    Ends("Accuracy, clean and under attack", "accuracy [%]", CLEAN, ROBUST),
    Ends("Explanation loss", LOSS_UNIT, SCALE_FREE_START, SCALE_FREE_END),
    Ends("Removed by the attack", "share of the loss at start [%]", None, REMOVED),
    Ends("Cosine to the target's map", "cosine", COSINE_START, COSINE_END),
    Ends("Concentration", "effective pixels [px]", None, EFFECTIVE_PIXELS),
    Ends("1 − concordance", "1 − concordance", ONE_MINUS_CONCORDANCE_START, ONE_MINUS_CONCORDANCE_END),
)


class Curve(NamedTuple):
    """A metric of metrics.jsonl plotted against the epochs."""

    key: str
    title: str
    label: str
    scale: float = 1.0
    logarithmic: bool = False


TRAINING = (
    Curve("cross_entropy", "Training loss", "cross-entropy [nats]"),
    Curve("accuracy", "Training, under attack", "accuracy [%]", 100.0),
    Curve("validation_clean_accuracy", "Validation, clean", "accuracy [%]", 100.0),
    Curve("validation_robust_accuracy", "Validation, under attack", "accuracy [%]", 100.0),
    Curve(PENALTY, "SEP term", "mean (I(x+ζ) − I(x))²", logarithmic=True),
    Curve("sep_gradient_ratio", "Pull of the SEP term", "ratio of gradient norms", logarithmic=True),
)
TOTAL_LOSS = "loss"
"""The training loss with the SEP term, drawn dotted in the panel of the cross-entropy."""


def metric(name: str) -> Metric:
    """How a metric or a weight is displayed. Raises: KeyError for an unknown one."""
    return next((weight for weight in WEIGHTS if weight.name == name), None) or evaluate.METRICS[name]

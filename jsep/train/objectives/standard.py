"""Standard training: the cross-entropy of the clean images."""

from jsep.train.objectives.interface import (
    Auxiliary,
    BatchFn,
    InnerAttack,
    NoSettings,
    Objective,
    TrainObjective,
    cross_entropy_and_accuracy,
)
from jsep.types import Array, Key, ModelFn, PyTree


def make_standard(
    model_fn: ModelFn, batch_fn: BatchFn, inner: InnerAttack, config: NoSettings | None = None
) -> TrainObjective:
    """Mean cross-entropy(f(x), y) = mean -log softmax(f(x))_y on the clean images; `inner` is not used."""

    def objective(
        key: Key, params: PyTree, batch_stats: PyTree, images: Array, labels: Array
    ) -> tuple[Array, Auxiliary]:
        return cross_entropy_and_accuracy(batch_fn, params, batch_stats, images, labels)

    return objective


STANDARD = Objective(make_standard, adversarial=False)

"""The paper's tables and figures as data: the results that measure each, and the claims tested on them."""

from typing import NamedTuple

from jsep.record.many import (
    between_clusters_above_within,
    harder_as_the_weight_falls,
    not_strongly_correlated,
    rank_by_selection,
)
from jsep.record.paper import (
    Ask,
    attack_works,
    published,
    published_in_cell,
    questions,
    questions_in_cell,
    sharpened_above_flattened,
)


class PaperItem(NamedTuple):
    """A table or figure of the paper. results: folders of results/ that measure it, the full recipe first; asks: the
    questions put to these results."""

    name: str
    results: tuple[str, ...]
    asks: tuple[Ask, ...]


AT_A_GLANCE = (
    "order_by_loss", "order_by_concordance", "order_by_share", "order_by_cosine", "equal_accuracy", "belief_by_loss",
    "belief_by_concordance", "belief_by_share", "belief_by_cosine",
)  # fmt: skip
"""The questions of a study in the overview table, one column each."""

STUDY_QUESTIONS = questions(*AT_A_GLANCE)
"""The claims of Table 2 on a study, the same without the effect of concentration, and the claim of the title."""


def _losses(*numbers: tuple[str, str, float]) -> tuple[Ask, ...]:
    return tuple(published(method, f"explanation_loss_{when}", value) for method, when, value in numbers)


def _accuracies(*numbers: tuple[str, str, float]) -> tuple[Ask, ...]:
    return tuple(published(method, f"{which}_accuracy", value) for method, which, value in numbers)


_FLATTER = (questions("flatter_loss"),)
_WITH_SEP = (questions("sep_landscape", "same_loss", "flatter_explanation"),)
_CLUSTERS = (between_clusters_above_within({"loss": "loss", "one_minus_concordance": "1 − concordance"}),)
_EXPLANATIONS = ("gradient", "gradient_x_input", "guided_backprop")
_CELLS = tuple(
    questions_in_cell(explanation, "order_by_loss", "order_by_concordance", "equal_accuracy")
    for explanation in _EXPLANATIONS
)


def _both(name: str) -> tuple[str, str]:
    """The result folders of the full recipe and of the quick one."""
    return name, f"{name}_quick"


CIFAR10_CONVNET = ("cifar10_sep_convnet", "cifar10_sep_quick")
CIFAR10_RESNET18 = ("cifar10_sep",)

PAPER_ITEMS: tuple[PaperItem, ...] = (
    PaperItem("Figure 1a: the attack, on MNIST", _both("mnist_sep"), (attack_works("mat"),)),
    PaperItem("Figure 1a: the attack, on CIFAR-10", CIFAR10_CONVNET, (attack_works("mat"),)),
    PaperItem("Figure 1b: landscape of the classification loss", _both("landscape"), _FLATTER),
    PaperItem("Figure 1b's question on digits", ("landscape_digits",), _FLATTER),
    PaperItem("Landscapes with SEP, CIFAR-10", _both("landscape"), _WITH_SEP),
    PaperItem("Landscapes with SEP, digits", ("landscape_digits",), _WITH_SEP),
    PaperItem("Figure 2: maps within and between clusters, CIFAR-10", _both("selection"), _CLUSTERS),
    PaperItem("Figure 2's question on digits", ("selection_digits",), _CLUSTERS),
    PaperItem(
        "Figure 3: explanation-loss landscape of TRADES models",
        _both("trades_landscape"),
        (questions("same_landscape"),),
    ),
    *(
        PaperItem(f"Figure 4: pixels that the maps use, {name}", results, (questions("pixels"),))
        for name, results in (
            ("MNIST", _both("mnist_sep")),
            ("Fashion-MNIST", _both("fashion_mnist_sep")),
            ("CIFAR-10, ConvNet", CIFAR10_CONVNET),
            ("CIFAR-10, ResNet-18", CIFAR10_RESNET18),
            ("CIFAR-100", _both("cifar100_sep")),
            ("TinyImageNet", _both("tiny_imagenet_sep")),
            ("digits", ("digits_sep",)),
        )
    ),
    PaperItem(
        "Figure 5: tested with other explanations", ("cross_method", "cross_method_digits"),
        (sharpened_above_flattened,),
    ),
    PaperItem("Table 1: TRADES sweep", _both("trades_landscape"), (questions("rise_together"),)),
    PaperItem(
        "Table 2: MNIST, ConvNet",
        _both("mnist_sep"),
        (STUDY_QUESTIONS, *_losses(("mat", "start", 373.262), ("mat", "end", 298.729), ("sep_neg", "start", 806.204),
                           ("sep_neg", "end", 657.180)), *_accuracies(("sep_neg", "clean", 99.4))),
    ),
    PaperItem("Table 2: Fashion-MNIST, ConvNet", _both("fashion_mnist_sep"), (STUDY_QUESTIONS,)),
    PaperItem(
        "Table 2: CIFAR-10, ConvNet",
        CIFAR10_CONVNET,
        (STUDY_QUESTIONS, *_losses(("mat", "start", 16.9), ("sep_neg", "start", 19.0), ("sep_neg", "end", 7.590),
                           ("sep_pos", "end", 1.269)), *_accuracies(("mat", "robust", 35.0))),
    ),
    PaperItem(
        "Table 2: CIFAR-10, ResNet-18",
        CIFAR10_RESNET18,
        (STUDY_QUESTIONS, *_losses(("mat", "start", 31.959), ("mat", "end", 31.959 * (1 - 0.315)),
                           ("sep_neg", "start", 70.159),
                           ("sep_neg", "end", 70.159 * (1 - 0.483))),
         *_accuracies(("mat", "clean", 67.22), ("sep_neg", "clean", 39.17), ("mat", "robust", 29.0))),
    ),
    PaperItem("Table 2: CIFAR-100", _both("cifar100_sep"), (STUDY_QUESTIONS,)),
    PaperItem("Table 2: TinyImageNet", _both("tiny_imagenet_sep"), (STUDY_QUESTIONS,)),
    PaperItem("Table 2's question on digits", ("digits_sep",), (STUDY_QUESTIONS,)),
    PaperItem(
        "Table 3: trained and tested with three explanations",
        _both("methods_table"),
        (*_CELLS,
         published_in_cell("gradient", "sep_neg", "explanation_loss_start", 8282.990),
         published_in_cell("gradient", "sep_neg", "clean_accuracy", 49.38)),
    ),
    *(
        PaperItem(
            f"Table 4: SEP weights, {name}", (folder,),
            (harder_as_the_weight_falls,),
        )
        for name, folder in (("CIFAR-10", "sep_weight_sweep"), ("on digits", "sep_weight_sweep_digits"))
    ),
    PaperItem("Appendix: Wide ResNet", ("cifar10_wide_resnet",), (STUDY_QUESTIONS,)),
    PaperItem("Appendix: MobileNetV2", ("cifar10_mobilenet",), (STUDY_QUESTIONS,)),
    PaperItem("Table 2's question on MNIST, ResNet-18", ("mnist_resnet18_quick",), (STUDY_QUESTIONS,)),
    PaperItem("Appendix's question on MNIST, Wide ResNet", ("mnist_wide_resnet_quick",), (STUDY_QUESTIONS,)),
    PaperItem("Appendix's question on MNIST, MobileNetV2", ("mnist_mobilenet_quick",), (STUDY_QUESTIONS,)),
    PaperItem("Appendix: SEP on top of TRADES", _both("trades_sep"), (STUDY_QUESTIONS,)),
    PaperItem(
        "Appendix: ImageNet subset against AT", ("imagenette_sep", *_both("tiny_imagenet_sep")),
        (questions("equal_accuracy"), attack_works("mat")),
    ),
    PaperItem("Appendix: ways to select pairs, CIFAR-10", _both("selection"), (rank_by_selection,)),
    PaperItem("Appendix's question on digits", ("selection_digits",), (rank_by_selection,)),
    PaperItem(
        "The title's question, on digits", ("correlation_digits",),
        (
            not_strongly_correlated(
                {
                    "scale_free_loss_end": "loss at the end",
                    "one_minus_concordance_end": "1 − concordance at the end",
                    "relative_reduction": "share removed, sign turned",
                    "cosine_end": "cosine at the end, sign turned",
                }
            ),
        ),
    ),
    PaperItem("Reviewers: a properly trained baseline", _both("baseline_sep"), (STUDY_QUESTIONS,)),
    PaperItem("Reviewers: vision transformer", _both("vit_sep"), (STUDY_QUESTIONS,)),
    PaperItem(
        "Reviewers: vision transformer, attention explanations", _both("vit_methods"), (sharpened_above_flattened,)
    ),
    *(
        PaperItem(
            f"Reviewers: other regularisers of explanations, {name}",
            (folder,),
            (questions("stable_maps", "regularised_accuracy"),),
        )
        for name, folder in (
            ("CIFAR-10", "objectives"),
            ("digits", "objectives_digits"),
            ("MNIST", "objectives_mnist"),
            ("MNIST, more", "objectives_mnist_rivals"),
        )
    ),
)  # fmt: skip
"""The paper's tables and figures and its reviewers' questions, each with its results and the claims tested on them."""

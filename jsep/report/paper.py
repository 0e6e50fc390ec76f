"""The paper's tables and figures beside this project's results: every number and claim, and whether it holds.

An item is one entry of `PAPER_ITEMS`; a judge is a function from a result.json to its findings (`study_claims`,
`landscape_claims`, `many_claims`).
"""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jsep.report.findings import OPEN, UNKNOWN, Finding, Judge, Result
from jsep.report.landscape_claims import flatter_by_training, rise_together, same_landscape
from jsep.report.many_claims import (
    TRENDS,
    between_clusters_above_within,
    harder_as_the_weight_falls,
    not_strongly_correlated,
    order_does_not_depend_on_selection,
)
from jsep.report.study_claims import (
    ADJUSTED,
    MAT,
    TRADES,
    accuracy_of,
    attack_works,
    equal_accuracy,
    equal_accuracy_in_cell,
    loss_of,
    number_in_cell,
    order_at_the_end,
    order_in_cell,
    order_of_effective_pixels,
    order_without_concentration,
    pos_below_neg_in_every_method,
    rivals,
)


class PaperItem(NamedTuple):
    """A table or figure. results: folders of results/ that measure it, the full recipe first; judges: what they are
    asked."""

    name: str
    results: tuple[str, ...]
    judges: tuple[Judge, ...]


def _sep(methods: Sequence[str] = MAT) -> tuple[Judge, ...]:
    """What Table 2 claims of a study, and the same without the concentration of the maps."""
    return (
        functools.partial(order_at_the_end, methods=methods),
        *(functools.partial(order_without_concentration, metric, methods=methods) for metric in ADJUSTED),
        functools.partial(equal_accuracy, methods=methods),
    )


def _losses(*numbers: tuple[str, str, float]) -> tuple[Judge, ...]:
    return tuple(functools.partial(loss_of, method, when, value) for method, when, value in numbers)


def _accuracies(*numbers: tuple[str, str, float]) -> tuple[Judge, ...]:
    return tuple(functools.partial(accuracy_of, method, which, value) for method, which, value in numbers)


_FLATTER: tuple[Judge, ...] = tuple(
    functools.partial(flatter_by_training, "cross_entropy", quantity, words)
    for quantity, words in (
        ("worst_sharpness", "worst rise of the cross-entropy in the ball"),
        ("top_eigenvalue", "top eigenvalue of the cross-entropy"),
    )
)
_CLUSTERS: tuple[Judge, ...] = (
    functools.partial(between_clusters_above_within, "loss", "loss"),
    functools.partial(between_clusters_above_within, "excess", "loss / chance"),
)
_EXPLANATIONS = ("gradient", "gradient_x_input", "guided_backprop")
_CELLS: tuple[Judge, ...] = tuple(
    judge
    for explanation in _EXPLANATIONS
    for judge in (
        functools.partial(order_in_cell, explanation, "explanation_loss_end"),
        functools.partial(order_in_cell, explanation, "excess_end"),
        functools.partial(equal_accuracy_in_cell, explanation),
    )
)


def _both(name: str) -> tuple[str, str]:
    """The full recipe, and the quick one."""
    return name, f"{name}_quick"


CIFAR10_CONVNET = ("cifar10_sep_convnet", "cifar10_sep_quick")
CIFAR10_RESNET18 = ("cifar10_sep",)

PAPER_ITEMS: tuple[PaperItem, ...] = (
    PaperItem("Figure 1a: the attack, on MNIST", _both("mnist_sep"), (functools.partial(attack_works, "mat"),)),
    PaperItem("Figure 1a: the attack, on CIFAR-10", CIFAR10_CONVNET, (functools.partial(attack_works, "mat"),)),
    PaperItem("Figure 1b: landscape of the classification loss", _both("landscape"), _FLATTER),
    PaperItem("Figure 1b's question on digits", ("landscape_digits",), _FLATTER),
    PaperItem("Figure 2: maps within and between clusters, CIFAR-10", _both("selection"), _CLUSTERS),
    PaperItem("Figure 2's question on digits", ("selection_digits",), _CLUSTERS),
    PaperItem(
        "Figure 3: explanation-loss landscape of TRADES models",
        _both("trades_landscape"),
        tuple(
            functools.partial(same_landscape, quantity, words)
            for quantity, words in (
                ("worst_sharpness", "worst rise of the loss to the own map in the ball"),
                ("top_eigenvalue", "top eigenvalue of the loss to the own map"),
            )
        ),
    ),
    *(
        PaperItem(f"Figure 4: pixels that the maps use, {name}", results, (order_of_effective_pixels,))
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
        (pos_below_neg_in_every_method,),
    ),
    PaperItem("Table 1: TRADES sweep", _both("trades_landscape"), (rise_together,)),
    PaperItem(
        "Table 2: MNIST, ConvNet",
        _both("mnist_sep"),
        (*_sep(), *_losses(("mat", "start", 373.262), ("mat", "end", 298.729), ("sep_neg", "start", 806.204),
                           ("sep_neg", "end", 657.180)), *_accuracies(("sep_neg", "clean", 99.4))),
    ),
    PaperItem("Table 2: Fashion-MNIST, ConvNet", _both("fashion_mnist_sep"), _sep()),
    PaperItem(
        "Table 2: CIFAR-10, ConvNet",
        CIFAR10_CONVNET,
        (*_sep(), *_losses(("mat", "start", 16.9), ("sep_neg", "start", 19.0), ("sep_neg", "end", 7.590),
                           ("sep_pos", "end", 1.269)), *_accuracies(("mat", "robust", 35.0))),
    ),
    PaperItem(
        "Table 2: CIFAR-10, ResNet-18",
        CIFAR10_RESNET18,
        (*_sep(), *_losses(("mat", "start", 31.959), ("mat", "end", 31.959 * (1 - 0.315)), ("sep_neg", "start", 70.159),
                           ("sep_neg", "end", 70.159 * (1 - 0.483))),
         *_accuracies(("mat", "clean", 67.22), ("sep_neg", "clean", 39.17), ("mat", "robust", 29.0))),
    ),
    PaperItem("Table 2: CIFAR-100", _both("cifar100_sep"), _sep()),
    PaperItem("Table 2: TinyImageNet", _both("tiny_imagenet_sep"), _sep()),
    PaperItem("Table 2's question on digits", ("digits_sep",), _sep()),
    PaperItem(
        "Table 3: trained and tested with three explanations",
        _both("methods_table"),
        (*_CELLS,
         functools.partial(number_in_cell, "gradient", "sep_neg", "explanation_loss_start", 8282.990),
         functools.partial(number_in_cell, "gradient", "sep_neg", "clean_accuracy", 49.38)),
    ),
    *(
        PaperItem(
            f"Table 4: SEP weights, {name}", (folder,),
            tuple(functools.partial(harder_as_the_weight_falls, metric) for metric in TRENDS),
        )
        for name, folder in (("CIFAR-10", "sep_weight_sweep"), ("on digits", "sep_weight_sweep_digits"))
    ),
    PaperItem("Appendix: Wide ResNet", ("cifar10_wide_resnet",), _sep()),
    PaperItem("Appendix: MobileNetV2", ("cifar10_mobilenet",), _sep()),
    PaperItem("Table 2's question on MNIST, ResNet-18", ("mnist_resnet18_quick",), _sep()),
    PaperItem("Appendix's question on MNIST, Wide ResNet", ("mnist_wide_resnet_quick",), _sep()),
    PaperItem("Appendix's question on MNIST, MobileNetV2", ("mnist_mobilenet_quick",), _sep()),
    PaperItem("Appendix: SEP on top of TRADES", _both("trades_sep"), _sep(TRADES)),
    PaperItem(
        "Appendix: ImageNet subset against AT", ("imagenette_sep", *_both("tiny_imagenet_sep")),
        (functools.partial(order_at_the_end, when="start"), functools.partial(equal_accuracy, which="clean"),
         functools.partial(attack_works, "mat")),
    ),
    PaperItem("Appendix: ways to select pairs, CIFAR-10", _both("selection"), (order_does_not_depend_on_selection,)),
    PaperItem("Appendix's question on digits", ("selection_digits",), (order_does_not_depend_on_selection,)),
    PaperItem(
        "The title's question, on digits", ("correlation_digits",),
        tuple(
            functools.partial(not_strongly_correlated, measure, words)
            for measure, words in (
                ("scale_free_loss_end", "loss at the end"),
                ("excess_end", "loss / chance at the end"),
                ("relative_reduction", "share removed, sign turned"),
            )
        ),
    ),
    PaperItem("Reviewers: a properly trained baseline", _both("baseline_sep"), _sep()),
    PaperItem("Reviewers: vision transformer", _both("vit_sep"), _sep()),
    PaperItem(
        "Reviewers: vision transformer, attention explanations", _both("vit_methods"), (pos_below_neg_in_every_method,)
    ),
    *(
        PaperItem(f"Reviewers: rivals of SEP, {name}", (folder,), (rivals,))
        for name, folder in (
            ("CIFAR-10", "objectives"),
            ("digits", "objectives_digits"),
            ("MNIST", "objectives_mnist"),
            ("MNIST, more", "objectives_mnist_rivals"),
        )
    ),
)  # fmt: skip
"""What the paper shows and its reviewers asked, each with the results that measure it and the judges of its numbers and
claims."""


_AT_A_GLANCE = ("explanation loss at the end", *(words for _, words in ADJUSTED.values()), "robust accuracy")
"""The findings of `_sep`, by what they say they are of."""


def order_table(results: Mapping[str, Result], page: str = "") -> str:
    """In Markdown, for every study with SEP of both signs: does the paper's order hold, by its metric and by those
    without concentration, and is the robust accuracy equal?

    Args: results: the content of result.json by the name of its folder. page: where the results are shown, for links;
      "" is the table's own page.
    """
    lines = [
        "| study | order by loss left | by loss / chance | by share removed | by cosine | equal robust accuracy |",
        "|---|---|---|---|---|---|",
    ]
    for item in PAPER_ITEMS:
        name = next((name for name in item.results if name in results), None)
        if name is None:
            continue
        answers = [judge(results[name]) for judge in item.judges]
        verdicts = {answer.what: answer for answer in answers if isinstance(answer, Finding)}
        if not set(_AT_A_GLANCE) <= set(verdicts):
            continue
        cells = [verdicts[what].verdict for what in _AT_A_GLANCE]
        basis = verdicts[_AT_A_GLANCE[0]].basis
        lines.append(f"| [{item.name}]({page}#{name}) ({basis}) | {' | '.join(cells)} |")
    return "\n".join(lines)


def paper_table(results: Mapping[str, Result]) -> str:
    """The comparison in Markdown: a row for each question of each item, and what has not been run.

    Args: results: the content of result.json by the name of its folder.
    """
    lines = [
        "| item | of | paper | ours | claim | basis | result |",
        "|---|---|---|---|---|---|---|",
    ]
    missing = []
    for item in PAPER_ITEMS:
        name = next((name for name in item.results if name in results), None)
        if name is None:
            missing.append(item.name)
            continue
        for judge in item.judges:
            answer = judge(results[name])
            for found in [answer] if isinstance(answer, Finding) else answer:
                cells = (item.name, found.what, found.paper, found.ours, found.verdict, found.basis,
                         f"[{name}](#{name})")  # fmt: skip
                lines.append(f"| {' | '.join((cell or '–').replace('|', '/') for cell in cells)} |")
    text = (
        "\n".join(lines)
        + "\n\nLosses × 1e-7; in brackets 95 % intervals, of differences over the pairs and of single numbers over the "
        "seeds; of accuracies ± half of one, over the seeds where there are three, else of independent images. The "
        "recipes are small (see each result), so a published number is there for its size; the claims are what is "
        f'tested. "{OPEN}": the interval contains both answers. "{UNKNOWN}": the result lacks what it takes, or a '
        "model is degraded, and a broken classifier is no evidence."
    )
    if missing:
        text += f"\n\nNot yet run: {'; '.join(missing)}."
    return text

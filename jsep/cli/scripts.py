"""The scripts by name: what each runs. A script of experiments/ and a subcommand of `jsep` are the same line here.

Nothing heavy is imported: the list of subcommands and a mistyped name cost no JAX.
"""

import dataclasses
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsep import study


@dataclasses.dataclass(frozen=True)
class Script:
    """A script. help: its question, one line; example: what follows its name on the command line; kind: a configuration
    class of `jsep.study`, or "" where the module jsep.cli.<name> has the program; defaults: of its flags; plugin: a
    module of jsep.cli whose import registers what the script can name."""

    help: str
    example: str
    kind: str = "StudyConfig"
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    plugin: str = ""


def _sep(where: str, name: str, **defaults: Any) -> Script:
    return Script(f"MAT, SEP_pos and SEP_neg {where}", f"--flagfile={name}", defaults=defaults)


_PHOTOGRAPHS = {"model": "resnet18", "feature_model": "resnet18", "augment": True}
_DRAWINGS = {"model": "convnet", "feature_model": "convnet", "augment": False}

SCRIPTS: dict[str, Script] = {
    "digits_sep": _sep(
        "on scikit-learn's handwritten digits: a small Table 2, without download", "digits_sep", dataset="digits"
    ),
    "mnist_sep": _sep("on MNIST: its rows of Table 2", "mnist_sep", dataset="mnist", **_DRAWINGS),
    "fashion_mnist_sep": _sep(
        "on Fashion-MNIST: its rows of Table 2", "fashion_mnist_sep", dataset="fashion_mnist", **_DRAWINGS
    ),
    "cifar10_sep": _sep("on CIFAR-10: the CIFAR-10 rows of Table 2", "cifar10_sep", dataset="cifar10", **_PHOTOGRAPHS),
    "cifar100_sep": _sep("on CIFAR-100: its rows of Table 2", "cifar100_sep", dataset="cifar100", **_PHOTOGRAPHS),
    "tiny_imagenet_sep": _sep(
        "on TinyImageNet: its rows of Table 2", "tiny_imagenet_sep", dataset="tiny_imagenet", **_PHOTOGRAPHS
    ),
    "imagenette_sep": _sep(
        "on imagenette, ten classes of ImageNet: the appendix's ImageNet subset",
        "imagenette_sep",
        dataset="imagenette",
        **_PHOTOGRAPHS,
    ),
    "vit_sep": _sep("with a vision transformer", "vit_sep", dataset="cifar10", **{**_PHOTOGRAPHS, "model": "vit_tiny"}),
    "baseline_sep": _sep(
        "continued from properly trained models",
        "baseline_sep",
        dataset="cifar10",
        start_from="runs/cifar10_baseline",
        **_PHOTOGRAPHS,
    ),
    "trades_sep": Script(
        "TRADES with SEP of either sign (appendix)",
        "--flagfile=trades_sep",
        defaults={"dataset": "cifar10", "methods": ("trades", "trades_sep_pos", "trades_sep_neg"), **_PHOTOGRAPHS},
    ),
    "objectives": Script(
        "Every training objective and explanation regulariser on one data set: does each work as intended?",
        "--flagfile=objectives_digits",
    ),
    "evaluate": Script(
        "Evaluates trained models, from studies or imported from PyTorch, on the same images, pairs and attacks",
        "--flagfile=evaluate_digits",
        "EvaluationConfig",
    ),
    "card": Script(
        "The card of a model by a protocol: accuracies under attack and the robustness of its explanations",
        "--classifier=cifar10_convnet_mat --protocol=cifar10_linf_v1 --data_dir=DIR",
        "CardConfig",
    ),
    "attack": Script(
        "Attacks a model's predictions and explanations on your own images: a table, and a picture of the attack",
        "--model=cifar10_convnet_mat --images=a.png,b.png",
        "",
    ),
    "attack_strength": Script(
        "PGD, Auto-PGD and AutoAttack on the trained models of a study, beside other implementations",
        "--flagfile=attack_strength_quick --data_dir=DIR",
        "AttackStrengthConfig",
        plugin="torch_peers",
    ),
    "explanation_attacks": Script(
        "How strong is the targeted attack on explanations, and what does each member of the ensemble add?",
        "--flagfile=explanation_attacks_quick",
        "ExplanationAttacksConfig",
    ),
    "explain_methods": Script(
        "Every explanation method on the same images: maps, and the sanity check with randomised weights",
        "--flagfile=explain_methods_quick --data_dir=DIR",
        "ExplanationMethodsConfig",
    ),
    "landscape_models": Script(
        "The input landscape of trained models: Figure 1b, landscapes and Hessians of MAT, SEP_pos and SEP_neg",
        "--flagfile=landscape_quick --data_dir=DIR",
        "LandscapeConfig",
        {"experiment": "landscape"},
    ),
    "trades_landscape": Script(
        "TRADES with several weights and the explanation-loss landscape of each: Figure 3",
        "--flagfile=trades_landscape_quick",
        "TradesLandscapeConfig",
    ),
    "cross_method": Script(
        "Does SEP transfer to explanation methods other than the one used in training? (Figure 5)",
        "--flagfile=cross_method_digits",
        "CrossMethodConfig",
    ),
    "methods_table": Script(
        "SEP with Gradient, Gradient x Input or Guided Backprop in its term, each tested with all three: Table 3",
        "--flagfile=methods_table_quick --data_dir=DIR",
        "MethodsTableConfig",
    ),
    "selection": Script(
        "Does the choice of images matter? Pairs redrawn by seven rules, and maps within and between clusters",
        "--flagfile=selection_digits",
        "SelectionConfig",
    ),
    "precision": Script(
        "The same study in float32 and in bfloat16: which reported numbers change, and by how much?",
        "--flagfile=precision_digits",
        "PrecisionConfig",
    ),
    "sep_weight_sweep": Script(
        "How does robustness change with the SEP weight, until training fails? Reads runs of a sweep",
        "--flagfile=sep_weight_sweep_digits",
        "WeightSweepConfig",
    ),
    "correlation": Script(
        "Are classification and explanation robustness correlated over many models? Reads runs of a sweep",
        "--flagfile=correlation_digits",
        "CorrelationConfig",
    ),
    "sweep": Script(
        "Many runs of one script with one command: in parallel, the finished ones skipped, the failed ones listed",
        "--spec=sep_weight_digits --dry_run",
        "",
    ),
    "report": Script(
        "Draws the page of a run again, or one page that compares several; --table prints every column",
        "runs/digits_sep --table",
        "",
    ),
    "prepare_data": Script(
        "Writes a data set to one .npz file, for machines without TFDS or a network",
        "--dataset=cifar10 --data_dir=DIR --out=cifar10.npz",
        "",
    ),
    "add_to_zoo": Script(
        "Adds a finished run's model to those of the package: weights, the card measured, the examples renewed",
        "--name=cifar10_convnet_mat --classifier=RUN_DIR --method=mat --model_seed=0 --data_dir=DIR",
        "",
    ),
    "keep_models": Script(
        "Copies finished studies to a directory kept with the code, weights as float16", "kept runs/digits_sep", ""
    ),
}
"""name -> script, in the order in which they are listed."""


def asks_for_help(argv: Sequence[str]) -> bool:
    """Whether the command line asks for the help of its script."""
    return not {"-h", "-help", "--help", "-?", "--helpshort"}.isdisjoint(argv[1:])


def description(name: str) -> str:
    """What the script does and an example, as it was called: by `jsep`, or as a file."""
    called = sys.argv[0] if sys.argv[0].startswith("jsep ") else f"python experiments/{name}.py"
    return f"{SCRIPTS[name].help}\n\n  {called} {SCRIPTS[name].example}"


def defaults_of(name: str) -> "study.Configuration":
    """The default values of the flags of a script that runs a study."""
    script = SCRIPTS[name]
    if script.plugin:
        importlib.import_module(f"jsep.cli.{script.plugin}")
    kind = getattr(importlib.import_module("jsep.study"), script.kind)
    found: study.Configuration = kind.of(**{"experiment": name, **script.defaults})
    return found

"""jsep: explain a classifier, attack its predictions and its explanations, train it with SEP, and measure both
robustnesses.

The modules are loaded when they are first used, so that `import jsep` costs little more than `import jax`:

    jsep.data      images in [0, 1] and labels
    jsep.models    Flax classifiers; any function image -> logits works in their place
    jsep.explain   saliency and explanation maps
    jsep.attack    attacks on predictions and on explanations
    jsep.train     training objectives, the SEP regulariser, the training loop
    jsep.evaluate  accuracies, explanation robustness, map metrics, selection of images
    jsep.landscape slices and curvature of any scalar function of the image
    jsep.plot      figures of one image, attack, comparison or landscape, on axes of yours
    jsep.stats     intervals and tests of few seeds on shared images
    jsep.record    rows and results, claims about them and the verdicts
    jsep.devices   several devices and hosts
    jsep.compiled  programs of calls outside of jax.jit, which compile once; jsep.clear_compiled() drops them
    jsep.study     several methods and seeds, evaluated on the same pairs, in one run directory
    jsep.report    result files -> tables, figures, one self-contained page
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsep import (
        attack,
        checks,
        compiled,
        data,
        devices,
        evaluate,
        explain,
        landscape,
        models,
        plot,
        record,
        report,
        stats,
        study,
        train,
        types,
    )

__version__ = "0.1.0"
__all__ = [
    "attack",
    "checks",
    "compiled",
    "data",
    "devices",
    "evaluate",
    "explain",
    "landscape",
    "models",
    "plot",
    "record",
    "report",
    "stats",
    "study",
    "train",
    "types",
]


def __getattr__(name: str) -> Any:
    if name == "clear_compiled":
        return importlib.import_module("jsep.compiled").clear_compiled
    if name in __all__:
        return importlib.import_module(f"jsep.{name}")
    raise AttributeError(f"module 'jsep' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "clear_compiled", "__version__"]

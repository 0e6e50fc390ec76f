"""The model of a card: one of the zoo, of a finished study, or a function from anywhere."""

import dataclasses
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jax.numpy as jnp

from jsep import models
from jsep.checks import InputError, check_choice
from jsep.study.trained import load_trained
from jsep.types import Array, LogitsFn, ModelFn, PyTree


@dataclasses.dataclass(frozen=True)
class CardSubject:
    """name: in tables; model_fn: (variables, image in [0, 1]) -> logits; network: the Flax classifier, where it is one;
    sha256: of the weights of a model of the zoo, else ""."""

    name: str
    model_fn: ModelFn
    variables: PyTree
    network: models.Classifier | None = None
    sha256: str = ""


def load_card_subject(
    classifier: str,
    *,
    method: str | None = None,
    seed: int | None = None,
    data_dir: str | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> CardSubject:
    """The model that `classifier` names.

    Args: classifier: a name of the zoo (`models.pretrained`), the run directory of a finished study, or
      "module:function", a function without arguments that returns image (H, W, C) in [0, 1] -> logits (K,); the module
      may lie in the current directory. method, seed: of the study's model, needed where it has several. mean, std: of
      each channel, for a function that expects normalised images; empty: it takes images in [0, 1].
    Raises: InputError where there is no such model, or more than one.
    """
    if ":" in classifier and not Path(classifier).is_dir():
        return CardSubject(classifier, _WithoutVariables(_normalised(_made_by(classifier), mean, std)), None)
    if mean or std:
        raise InputError(f"{classifier} normalises its images itself: input_mean and input_std are for module:function")
    if Path(classifier).is_dir():
        study = load_trained(classifier, data_dir=data_dir)
        fitting = [
            trained for trained in study.trained if method in (None, trained.method) and seed in (None, trained.seed)
        ]
        if len(fitting) != 1:
            known = ", ".join(trained.name for trained in study.trained)
            raise InputError(f"{classifier} has the models {known}: name one of them by method and model_seed")
        trained = fitting[0]
        return CardSubject(f"{Path(classifier).name} {trained.name}", study.model_fn, trained.variables, study.model)
    check_choice("model, neither a directory nor module:function", classifier, models.pretrained())
    loaded = models.load_pretrained(classifier)
    return CardSubject(classifier, loaded.model_fn, loaded.variables, loaded.model, loaded.card["sha256"])


def _made_by(name: str) -> LogitsFn:
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        make: Callable[[], LogitsFn] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{name} cannot be imported ({error}); give module:function") from error
    try:
        logits_fn = make()
    except TypeError as error:
        raise InputError(
            f"{name} must be a function without arguments that returns image -> logits: {error}"
        ) from error
    if not callable(logits_fn):
        raise InputError(f"{name} must return image -> logits, got {type(logits_fn).__name__}")
    return logits_fn


def _normalised(logits_fn: LogitsFn, mean: Sequence[float], std: Sequence[float]) -> LogitsFn:
    if not mean and not std:
        return logits_fn
    shift, scale = jnp.asarray(mean or (0.0,)), jnp.asarray(std or (1.0,))
    return lambda image: logits_fn((image - shift) / scale)


class _WithoutVariables:
    """A logits_fn as (variables, image) -> logits."""

    def __init__(self, logits_fn: LogitsFn) -> None:
        self._logits_fn = logits_fn

    def __call__(self, variables: PyTree, image: Array) -> Array:
        return self._logits_fn(image)

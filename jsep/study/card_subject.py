"""The model of a card: one of the zoo, of a finished study, or of any framework by a function that returns it."""

import dataclasses
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jsep import models
from jsep.checks import InputError, check_choice
from jsep.study.trained import load_trained
from jsep.types import LogitsFn, ModelFn, PyTree


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
    input_shape: tuple[int, int, int],
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> CardSubject:
    """The model that `classifier` names.

    Args: classifier: a name of the zoo (`models.pretrained`), the run directory of a finished study, or
      "module:function", see `imported_model`. method, seed: of the study's model, needed where it has several.
      input_shape: (H, W, C) of the images; mean, std: of each channel, for a function whose model expects normalised
      images; empty: it takes images in [0, 1].
    Raises: InputError where there is no such model, or more than one.
    """
    if ":" in classifier and not Path(classifier).is_dir():
        logits_fn = imported_model(classifier, input_shape=input_shape, mean=mean, std=std)
        return CardSubject(classifier, *models.split_variables(logits_fn))
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


def imported_model(
    name: str, *, input_shape: tuple[int, int, int], mean: Sequence[float] = (), std: Sequence[float] = ()
) -> LogitsFn:
    """The model that "module:function" returns, wrapped: anything that `models.wrap` takes, or (model, variables).

    Args: name: of a function without arguments; the module may lie in the current directory. input_shape, mean, std: as
      in `models.wrap`.
    Raises: InputError where it cannot be imported or called, or returns no model of such images.
    """
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        make: Callable[[], Any] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{name} cannot be imported ({error}); give module:function") from error
    try:
        made = make()
    except TypeError as error:
        raise InputError(f"{name} must be a function without arguments that returns a model: {error}") from error
    given = made if isinstance(made, tuple) and len(made) == 2 and not hasattr(made, "apply") else (made,)
    try:
        return models.wrap(*given, input_shape=input_shape, mean=mean, std=std)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error

"""Trained models that come with the package: float16 weights, each with a card of what it is and what was measured.

A model is two files in this folder: NAME.npz (`models.save_weights`) and NAME.json, its card, whose "sha256" is that of
the weights. `experiments/add_to_zoo.py` writes both.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from jsep.checks import InputError, check_choice
from jsep.models.architectures import create
from jsep.models.functions import init, logits_fn, model_fn
from jsep.models.layers import Classifier
from jsep.models.weights import load_weights
from jsep.types import LogitsFn, ModelFn, PyTree

FOLDER = Path(__file__).parent
"""Where weights and cards lie."""


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A trained model of the zoo: a Flax classifier of (B, H, W, C) images in [0, 1], its variables and its card.

    card: the content of NAME.json: "dataset", "method", "model" (the arguments of `models.create`), "recipe" (command,
      commit and settings of the training), "measured" (by protocol, such as "cifar10_linf_v1": accuracies, explanation
      losses, effective pixels), "sha256".
    """

    name: str
    model: Classifier
    variables: PyTree
    card: Mapping[str, Any]

    @property
    def logits_fn(self) -> LogitsFn:
        """image (H, W, C) in [0, 1] -> logits (K,)."""
        return logits_fn(self.model, self.variables)

    @property
    def model_fn(self) -> ModelFn:
        """(variables, image (H, W, C)) -> logits (K,), the form that evaluations of many images take."""
        return model_fn(self.model)


def pretrained() -> tuple[str, ...]:
    """The names of the models that `load_pretrained` knows, <dataset>_<network>_<training method>.

    >>> from jsep import models
    >>> "cifar10_convnet_mat" in models.pretrained()
    True
    """
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def load_pretrained(name: str) -> Pretrained:
    """A trained model of the package, without a download.

    >>> from jsep import data, models
    >>> loaded = models.load_pretrained("cifar10_convnet_mat")
    >>> examples = data.examples("cifar10")
    >>> int(loaded.logits_fn(examples.as_float()[0]).argmax()) == int(examples.labels[0])
    True

    Args: name: one of `pretrained()`.
    Raises: InputError for an unknown name, or files that are missing or damaged.
    """
    check_choice("pretrained model", name, pretrained())
    try:
        card = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        settings, digest = card["model"], card["sha256"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"the card of {name} is damaged ({error}); install jsep again") from error
    settings = settings | {"input_shape": tuple(settings["input_shape"])}
    model = create(**settings)
    like = jax.eval_shape(lambda key: init(key, model, settings["input_shape"]), jax.eval_shape(jax.random.key, 0))
    return Pretrained(name, model, load_weights(FOLDER / f"{name}.npz", like, expected_sha256=digest), card)

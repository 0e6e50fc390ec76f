"""Protocols: what a card of a model measures, on which images and pairs, with which attacks.

A protocol is one JSON file in this folder, named after it, or a line in `PROTOCOLS`. It never changes: whatever would
change a number is a new version beside it. `jsep.study.card` measures.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jsep import attack, data, evaluate, explain
from jsep.checks import InputError, check_choice
from jsep.study.options import number

FOLDER = Path(__file__).parent
"""Where the protocols lie."""

_NUMBERS = ("epsilon", "alpha")
_NUM_HASHED = 100


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A protocol with a name and a version.

    dataset: its test split is used, in its own order; sizes: "clean", "pgd", "auto_attack" -> the first so many test
    images, "pairs" -> the first so many pairs; norm, epsilon: the ball of all attacks, pixel units; alpha, num_steps:
    of PGD; auto_attack: of `attack.AUTO_ATTACK_VERSIONS`; explanation: of `explain.METHODS`; reduce, normalize: of its
    maps; explanation_attack: of `attack.AUTO_EXPLANATION_VERSIONS`; seed: of all attacks; victims, targets: indices of
    the pairs; sha256: of the images and labels of the pairs and the first 100; minutes: what a card takes for the
    ConvNet of the library on two processor cores.
    """

    name: str
    version: int
    dataset: str
    sizes: Mapping[str, int]
    norm: str
    epsilon: float
    alpha: float
    num_steps: int
    auto_attack: str
    explanation: str
    reduce: str
    normalize: str
    explanation_attack: str
    seed: int
    victims: tuple[int, ...]
    targets: tuple[int, ...]
    sha256: str
    minutes: int
    about: str

    @property
    def full_name(self) -> str:
        """Such as "cifar10_linf_v1"."""
        return f"{self.name}_v{self.version}"

    def pairs(self, test: data.Dataset) -> evaluate.PairIndex:
        """The pairs of victim and target.

        Raises: InputError for other images, or the same in another order or after a compression with loss.
        """
        if (test.info.name, test.split) != (self.dataset, "test"):
            raise InputError(f"{self.full_name} needs test images of {self.dataset}, got {test.info.name} {test.split}")
        fits = len(test) > max(*self.victims, *self.targets, _NUM_HASHED)
        if not fits or hash_of_images(test, self.victims, self.targets) != self.sha256:
            raise InputError(
                f"{self.full_name}: these test images of {test.info.name} are not, or not in the order of, those that "
                "the protocol was made for; load them by data.load through TensorFlow Datasets"
            )
        number = self.sizes["pairs"]
        chosen = self.victims[:number], self.targets[:number]
        return evaluate.PairIndex(test.info.name, "test", len(test), self.full_name, 2, self.seed, *chosen, "random")

    def explanation_settings(self) -> evaluate.ExplanationAttackConfig:
        """The attack on explanations: the ensemble, in the ball of the attacks on predictions."""
        return evaluate.ExplanationAttackConfig(
            method=self.explanation,
            map_config=explain.MapConfig(self.reduce, self.normalize),
            epsilon=self.epsilon,
            norm=self.norm,
            attack="auto",
            settings=attack.explanation_attack("auto").config(self.explanation_attack),
        )

    def part(self, **sizes: int) -> "Protocol":
        """The same protocol on fewer images or pairs; each meets the same attack with the same random numbers."""
        for name in sizes:
            check_choice("size of a protocol", name, self.sizes)
        fewer = {name: min(count, sizes.get(name, count)) for name, count in self.sizes.items()}
        return dataclasses.replace(self, sizes=fewer)


def hash_of_images(test: data.Dataset, victims: Sequence[int], targets: Sequence[int]) -> str:
    """The SHA-256 of the images, as uint8, and labels of the pairs and of the first 100 test images."""
    indices = np.array([*range(_NUM_HASHED), *victims, *targets])
    images = np.rint(test.as_float(indices) * 255).astype(np.uint8)
    return hashlib.sha256(images.tobytes() + test.labels[indices].astype(np.uint8).tobytes()).hexdigest()


def protocol_from_dict(stored: Mapping[str, Any]) -> Protocol:
    """A protocol from the content of its file, in which numbers may be texts such as "8/255"."""
    lists = {name: tuple(value) for name, value in stored.items() if isinstance(value, list)}
    numbers = {name: number(str(stored[name])) for name in _NUMBERS}
    return Protocol(**{**stored, **lists, **numbers})


PROTOCOLS: dict[str, Protocol] = {
    path.stem: protocol_from_dict(json.loads(path.read_text(encoding="utf-8")))
    for path in sorted(FOLDER.glob("*.json"))
}
"""name with version -> protocol; other packages add theirs as `study.PROTOCOLS["mine_v1"] = study.Protocol(...)`."""


def protocol(name: str) -> Protocol:
    """The protocol called `name`, such as "cifar10_linf_v1". Raises: InputError, listing the known ones, for any other.

    >>> from jsep import study
    >>> own = study.protocol("cifar10_linf_v1")
    >>> own.dataset, round(255 * own.epsilon), own.sizes["pairs"]
    ('cifar10', 8, 40)
    """
    check_choice("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]

"""The configuration of an evaluation of trained models: every setting that its results depend on."""

import dataclasses
import glob
from typing import NamedTuple

from jsep import attack, evaluate, record
from jsep.checks import InputError
from jsep.study.configuration import Configuration, count, group, random_seed, setting, size
from jsep.study.feature_network import OWN, PIXELS
from jsep.study.groups import AttackInTestsConfig, BudgetConfig, ExplanationConfig, MapConfig, ModelConfig
from jsep.study.options import number

STORED = "study"
"""The selection rule that reuses the pairs of the first study."""


class Source(NamedTuple):
    """Models to evaluate: a run directory; the cell that they belong to, "" for none; their method, "" for all."""

    run_dir: str
    cell: str = ""
    method: str = ""


@dataclasses.dataclass(frozen=True)
class ImportedModelsConfig:
    """Models trained outside jsep."""

    torch_weights: tuple[str, ...] = setting(
        (), "files of PyTorch weights (.pt, .pth, .safetensors) to be evaluated, each as path or name=path"
    )
    classifiers: tuple[str, ...] = setting(
        (),
        "models of any framework, each as module:function or name=module:function; the function, in the current "
        "directory or installed, returns a model as models.wrap takes it, or (model, variables)",
    )
    model: ModelConfig = group(ModelConfig, about=" of the PyTorch weights", name="resnet18", activation="relu")
    input_mean: tuple[str, ...] = setting(
        (), "mean of each channel, in [0, 1]; default: of the data set, of classifiers none"
    )
    input_std: tuple[str, ...] = setting((), "standard deviation of each channel; default: likewise")

    def names(self) -> tuple[str, ...]:
        """The files and functions."""
        return (*self.torch_weights, *self.classifiers)

    def mean(self) -> tuple[float, ...]:
        """The mean of each channel; empty for the data set's."""
        return _channels("input_mean", self.input_mean)

    def std(self) -> tuple[float, ...]:
        """The standard deviation of each channel; empty for the data set's."""
        return _channels("input_std", self.input_std)


def _channels(name: str, texts: tuple[str, ...]) -> tuple[float, ...]:
    try:
        return tuple(map(number, texts))
    except ValueError:
        raise InputError(f"{name} must be one number a channel, got {', '.join(texts)}") from None


@dataclasses.dataclass(frozen=True)
class EvaluationPairsConfig:
    """The pairs of an evaluation."""

    pairs_file: str | None = setting(None, "stored pair index that is used instead of a selection")
    selection: str = setting(
        STORED, "how pairs are chosen, those of the first study or anew", choices=(STORED, *evaluate.SELECTIONS)
    )
    feature_network: str = setting(
        OWN,
        f"what is clustered: {OWN} (the network that the first study with one trained for this), {PIXELS}, or the name "
        "of an evaluated model",
    )
    num_clusters: int = count(15, "clusters of the selection", minimum=2)
    num_pairs: int = count(150, "pairs of the selection")
    same_class: bool = setting(False, "whether a target may have the class of its victim")
    correct_by_all: bool = setting(False, "choose only images that every evaluated model classifies correctly")
    max_pairs: int = count(0, "pairs that are attacked, the first ones of the index; 0: all", minimum=0)


@dataclasses.dataclass(frozen=True)
class AutoAttackSettings:
    """AutoAttack in addition to PGD."""

    version: str | None = setting(
        None,
        "version of AutoAttack that is run as well; default: none",
        choices=attack.AUTO_ATTACK_VERSIONS,
        flag="auto_attack",
    )
    num_images: int = count(
        0, "images that AutoAttack attacks, stratified by class; 0: all", minimum=0, flag="auto_attack_images"
    )
    part: int = count(
        500, "images that AutoAttack finishes before it begins with the next ones", flag="auto_attack_part"
    )


@dataclasses.dataclass(frozen=True)
class PropertiesConfig:
    """The properties of single maps that are measured."""

    measured: bool = setting(
        True, "measure stability, faithfulness and sanity of the maps of the victims as well", flag="properties"
    )
    radius: float = size(0.02, "half width of the neighbourhood for stability, pixel units", flag="properties_radius")
    neighbours: int = count(16, "neighbours drawn for stability", flag="properties_neighbours")

    def config(self) -> evaluate.PropertiesConfig:
        """The settings of the properties of single explanations."""
        return evaluate.PropertiesConfig(self.radius, self.neighbours)


@dataclasses.dataclass(frozen=True)
class EvaluationConfig(Configuration):
    """The models, the images and pairs, and the attacks. The help text of each setting is its
    documentation.

    A setting shared with `StudyConfig` has the same meaning and the same default.
    """

    study_dirs: tuple[str, ...] = setting((), "run directories of finished studies whose models are evaluated")
    cells: tuple[str, ...] = setting(
        (),
        "in place of study_dirs: models of many studies under a name each, as name=PATTERN or name=PATTERN:method; the "
        "studies that a pattern matches (* allowed) differ in their seed",
    )
    claims: str = setting(record.STUDY, "claims that are judged", choices=tuple(record.CLAIM_FAMILIES))
    methods: tuple[str, ...] = setting((), "training methods whose models are evaluated; default: all of the studies")
    max_seeds: int = count(0, "training seeds whose models are evaluated, the first ones; 0: all", minimum=0)
    older_checkpoint: bool = setting(
        False, "where the newest checkpoint of a model is damaged, evaluate the one before, with a warning"
    )
    imported: ImportedModelsConfig = group(ImportedModelsConfig)
    dataset: str | None = setting(None, "data set, or the path of an .npz file; default: that of the first study")
    data_dir: str | None = setting(None, "TFDS data directory; default: where the study found its data")
    test_images: int | None = count(
        None,
        "number of test images, stratified by class; 0: all; default: as in the first study, without one all",
        minimum=0,
    )
    pairs: EvaluationPairsConfig = group(EvaluationPairsConfig)
    budget: BudgetConfig = group(BudgetConfig)
    tests: AttackInTestsConfig = group(AttackInTestsConfig, "test_")
    auto_attack: AutoAttackSettings = group(AutoAttackSettings)
    maps: MapConfig = group(MapConfig, "map_")
    explanation: ExplanationConfig = group(ExplanationConfig, "explanation_")
    properties: PropertiesConfig = group(PropertiesConfig)
    reference: str | None = setting(
        None,
        "method that the others are compared to, and more than 5 points of clean accuracy below which a model is "
        "degraded; default: the first adversarial objective alone, such as mat",
    )
    seed: int = random_seed(0, "seed of the selection and the resampling, and of the attacks on PyTorch weights")
    chunk_size: int = count(256, "images or pairs in memory at once, and kept together on disk for a resumed run")

    def check(self) -> None:
        """Raises: InputError for models that are named twice, or settings that do not fit."""
        if self.cells and (self.study_dirs or self.imported.names() or self.methods or self.max_seeds):
            raise InputError(
                "cells name all models: give no study_dirs, torch_weights, classifiers, methods or max_seeds"
            )
        for entry in self.cells:
            if not all(entry.partition("=")):
                raise InputError(f"a cell is name=PATTERN or name=PATTERN:method, got {entry!r}")
        self.budget.check()
        self.imported.mean()
        self.imported.std()
        self.explanation_attacks()

    def check_subject(self) -> None:
        """Raises: InputError where models, data or pairs are missing."""
        if not self.cells and not self.study_dirs and not self.imported.names():
            raise InputError("nothing to evaluate: give study_dirs, cells, torch_weights or classifiers")
        has_studies = bool(self.study_dirs or self.cells)
        if self.dataset is None and not has_studies:
            raise InputError("imported models do not name their data: give dataset")
        if self.pairs.pairs_file is None and self.pairs.selection == STORED and not has_studies:
            raise InputError("without a study there are no stored pairs: give selection or pairs_file")

    def sources(self) -> tuple[Source, ...]:
        """The studies with the evaluated models, those of cells found by their patterns.

        Raises: InputError where a pattern matches no directory.
        """
        found = [Source(str(path)) for path in self.study_dirs]
        for entry in self.cells:
            cell, _, rest = entry.partition("=")
            pattern, _, method = rest.partition(":")
            paths = sorted(glob.glob(pattern))
            if not paths:
                raise InputError(f"cells: no run directory matches {pattern}")
            found += [Source(path, cell, method) for path in paths]
        return tuple(found)

    def explanation_attack(self) -> evaluate.ExplanationAttackConfig:
        """The explanation attack that the settings describe."""
        return self.explanation.attack(self.maps)

    def explanation_attacks(self) -> dict[str, evaluate.ExplanationAttackConfig]:
        """strength -> the explanation attack on the same pairs; the last is the one on which the findings rest."""
        return self.explanation.attacks(self.maps)

"""Everything that decides the numbers of an evaluation of trained models."""

import dataclasses

from jsep import attack, evaluate, models
from jsep.checks import InputError, check_choice, check_count, check_epsilon, check_positive
from jsep.study.config import StudyConfig
from jsep.study.explanation_settings import explanation_attack
from jsep.study.feature_network import OWN, PIXELS
from jsep.study.flat_config import FlatConfig, setting

_OF_STUDIES = {field.name: field for field in dataclasses.fields(StudyConfig)}

STORED = "study"
"""The selection that takes the pairs of the first study as they are."""


def _as_in_studies(name: str) -> str:
    return str(_OF_STUDIES[name].metadata["help"])


@dataclasses.dataclass(frozen=True)
class EvaluationConfig(FlatConfig):
    """Which models, on which images and pairs, under which attacks. The help text of each field is its documentation.

    A field that a `StudyConfig` has too means the same here and has the same value where none is given.
    """

    study_dirs: tuple[str, ...] = setting((), "run directories of finished studies whose models are evaluated")
    methods: tuple[str, ...] = setting((), "training methods whose models are evaluated; default: all of the studies")
    max_seeds: int = setting(0, "training seeds whose models are evaluated, the first ones; 0: all")
    torch_weights: tuple[str, ...] = setting(
        (), "files of PyTorch weights (.pt, .pth, .safetensors) to be evaluated, each as path or name=path"
    )
    model: str = setting("resnet18", f"model of the PyTorch weights: {', '.join(models.MODELS)}")
    activation: str = setting("relu", f"its activation: {', '.join(models.ACTIVATIONS)}")
    softplus_beta: float = setting(10.0, "sharpness of its softplus")
    normalise_input: bool = setting(True, "whether it normalises its input by the mean and deviation below")
    input_mean: tuple[str, ...] = setting((), "mean of each channel, in [0, 1]; default: the data set's")
    input_std: tuple[str, ...] = setting((), "standard deviation of each channel; default: the data set's")

    dataset: str | None = setting(None, "data set, or the path of an .npz file; default: that of the first study")
    data_dir: str | None = setting(None, "TFDS data directory; default: where the study found its data")
    test_images: int | None = setting(
        None, "number of test images, stratified by class; 0: all; default: as in the first study, without one all"
    )

    pairs_file: str | None = setting(None, "stored pair index that is used instead of a selection")
    selection: str = setting(
        STORED, f"how pairs are chosen: {STORED} (those of the first study), or {', '.join(evaluate.SELECTIONS)}"
    )
    feature_network: str = setting(
        OWN, f"what is clustered: {OWN} (the first study's own network), {PIXELS}, or the name of an evaluated model"
    )
    num_clusters: int = setting(15, "clusters of the selection")
    num_pairs: int = setting(150, "pairs of the selection")
    same_class: bool = setting(False, "whether a target may have the class of its victim")
    max_pairs: int = setting(0, "pairs that are attacked, the first ones of the index; 0: all")

    norm: str = setting("linf", _as_in_studies("norm"))
    epsilon: float = setting(8 / 255, _as_in_studies("epsilon"))
    test_alpha: float = setting(2 / 255, _as_in_studies("test_alpha"))
    test_num_steps: int = setting(20, _as_in_studies("test_num_steps"))
    auto_attack: str | None = setting(
        None, f"version of AutoAttack that is run as well: {', '.join(attack.AUTO_ATTACK_VERSIONS)}; default: none"
    )
    auto_attack_part: int = setting(500, "images that AutoAttack finishes before it begins with the next ones")

    map_reduce: str = setting("abs_sum", _as_in_studies("map_reduce"))
    map_normalize: str = setting("l1", _as_in_studies("map_normalize"))
    explanation_method: str = setting("gradient_x_input", _as_in_studies("explanation_method"))
    explanation_options: tuple[str, ...] = setting((), _as_in_studies("explanation_options"))
    explanation_attacked_method: str | None = setting(None, _as_in_studies("explanation_attacked_method"))
    explanation_attack_kind: str = setting("targeted", _as_in_studies("explanation_attack_kind"))
    explanation_attack_options: tuple[str, ...] = setting((), _as_in_studies("explanation_attack_options"))
    explanation_version: str = setting("standard", _as_in_studies("explanation_version"))
    explanation_num_steps: int = setting(1000, _as_in_studies("explanation_num_steps"))
    explanation_learning_rate: float = setting(1e-3, _as_in_studies("explanation_learning_rate"))
    explanation_map_weight: float = setting(1e7, _as_in_studies("explanation_map_weight"))
    explanation_output_weight: float = setting(1e6, _as_in_studies("explanation_output_weight"))
    explanation_epsilon: float | None = setting(None, _as_in_studies("explanation_epsilon"))
    explanation_norm: str = setting("linf", _as_in_studies("explanation_norm"))
    explanation_softmax_tolerance: float | None = setting(None, _as_in_studies("explanation_softmax_tolerance"))

    properties: bool = setting(True, "measure stability, faithfulness and sanity of the maps of the victims as well")
    properties_radius: float = setting(0.02, "half width of the neighbourhood for stability, pixel units")
    properties_neighbours: int = setting(16, "neighbours drawn for stability")

    reference: str | None = setting(
        None,
        "method that the others are compared to, and more than 5 points of clean accuracy below which a model is "
        "degraded; default: mat where it is among them",
    )
    seed: int = setting(0, "seed of the selection and the resampling, and of the attacks on PyTorch weights")
    chunk_size: int = setting(256, "images or pairs in memory at once, and kept together on disk for a resumed run")

    def __post_init__(self) -> None:
        if not self.study_dirs and not self.torch_weights:
            raise InputError("nothing to evaluate: give study_dirs, torch_weights or both")
        if self.dataset is None and not self.study_dirs:
            raise InputError("PyTorch weights do not name their data: give dataset")
        check_choice("model", self.model, models.MODELS)
        check_choice("activation", self.activation, models.ACTIVATIONS)
        check_choice("selection", self.selection, [STORED, *evaluate.SELECTIONS])
        if self.pairs_file is None and self.selection == STORED and not self.study_dirs:
            raise InputError("without a study there are no stored pairs: give selection or pairs_file")
        for name in ("max_seeds", "max_pairs", "seed"):
            check_count(name, getattr(self, name), minimum=0)
        for name in ("num_pairs", "auto_attack_part", "chunk_size", "test_num_steps"):
            check_count(name, getattr(self, name))
        if self.test_images is not None:
            check_count("test_images", self.test_images, minimum=0)
        check_count("num_clusters", self.num_clusters, minimum=2)
        attack.norm_by_name(self.norm)
        check_epsilon(self.epsilon, self.norm)
        check_positive("test_alpha", self.test_alpha)
        if self.auto_attack is not None:
            check_choice("version of AutoAttack", self.auto_attack, attack.AUTO_ATTACK_VERSIONS)
        for name in ("input_mean", "input_std"):
            self.channels(name)
        # These check the rest.
        self.explanation_attack()
        self.properties_config()

    def channels(self, name: str) -> tuple[float, ...]:
        """The numbers of input_mean or input_std. Raises: InputError where they are none."""
        try:
            return tuple(float(value) for value in getattr(self, name))
        except ValueError:
            raise InputError(f"{name} must be one number a channel, got {', '.join(getattr(self, name))}") from None

    def explanation_attack(self) -> evaluate.ExplanationAttackConfig:
        """The explanation attack of the evaluation."""
        return explanation_attack(self)

    def properties_config(self) -> evaluate.PropertiesConfig:
        """The settings of the properties of single explanations."""
        return evaluate.PropertiesConfig(self.properties_radius, self.properties_neighbours)

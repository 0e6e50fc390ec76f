"""Everything that decides the numbers of a study, as one flat value: a flagfile, a key of result.json, a checkpoint's
owner."""

import dataclasses
from typing import Any

from jsep import attack, data, evaluate, explain, models, train
from jsep.checks import InputError, check_choice, check_count, check_epsilon, check_positive

METHODS: dict[str, tuple[str, int]] = {
    "standard": ("standard", 0),
    "mat": ("mat", 0),
    "sep_pos": ("mat", 1),
    "sep_neg": ("mat", -1),
}
"""method -> (training objective, sign of its SEP weight)."""

WEIGHT_UNITS = ("paper", "scale_free")


def _field(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """Methods x seeds on one data set, and how they are trained and judged. The help text of each field is its
    documentation."""

    experiment: str = _field("study", "name of the experiment in result.json")
    dataset: str = _field("digits", f"data set: {', '.join(data.LOADERS)}, or the path of an .npz file")
    data_dir: str | None = _field(None, "TFDS data directory; default: TFDS's own; downloaded there if absent")
    train_images: int = _field(0, "number of training images, stratified by class; 0: all")
    test_images: int = _field(0, "number of test images, stratified by class; 0: all")
    validation_images: int = _field(0, "number of validation images, stratified by class; 0: all")
    model: str = _field("convnet", f"model: {', '.join(models.MODELS)}")
    activation: str = _field("softplus", f"activation: {', '.join(models.ACTIVATIONS)}")
    softplus_beta: float = _field(10.0, "sharpness of the softplus")
    normalise_input: bool = _field(
        True, "normalise pixels by the data set's mean and standard deviation inside the model"
    )
    methods: tuple[str, ...] = _field(("mat", "sep_pos", "sep_neg"), f"training methods, of {', '.join(METHODS)}")
    seed: int = _field(0, "first seed")
    num_seeds: int = _field(3, "number of seeds, counted up from the first")

    epochs: int = _field(25, "training epochs")
    batch_size: int = _field(128, "images a training step")
    augment: bool = _field(False, "random crops and flips in training")
    optimizer: str = _field("sgd", f"optimiser: {', '.join(train.OPTIMIZERS)}")
    learning_rate: float = _field(0.1, "peak learning rate")
    schedule: str = _field("piecewise", f"learning-rate schedule: {', '.join(train.SCHEDULES)}")
    momentum: float = _field(0.9, "momentum of sgd")
    weight_decay: float = _field(5e-4, "weight decay")
    gradient_clip: float = _field(0.0, "largest global gradient norm in training; 0: no clipping")

    norm: str = _field("linf", f"norm of the attack on predictions: {', '.join(attack.NORMS)}")
    epsilon: float = _field(
        8 / 255, "budget of the attack on predictions, pixel units in [0, 1]; 8/255 may be written so"
    )
    alpha: float = _field(2 / 255, "PGD step in training, pixel units")
    num_steps: int = _field(10, "PGD steps in training")
    test_alpha: float = _field(2 / 255, "PGD step in tests, pixel units")
    test_num_steps: int = _field(20, "PGD steps in tests")

    sep_weight_pos: float = _field(50000.0, "SEP weight of sep_pos, > 0, flattens")
    sep_weight_neg: float = _field(-3000.0, "SEP weight of sep_neg, < 0, sharpens")
    sep_weight_unit: str = _field("paper", "unit of both: paper (per MSE of the maps) or scale_free (per N^2 * MSE)")
    sep_method: str = _field("gradient_x_input", f"explanation in the SEP term: {', '.join(explain.METHODS)}")
    sep_noise: str = _field("gaussian", f"noise of the SEP term: {', '.join(train.NOISES)}")
    sep_noise_scale: float = _field(
        0.1, "standard deviation (gaussian) or half width (uniform) of the noise, pixel units"
    )
    sep_form: str = _field("mse", f"distance of maps in the SEP term: {', '.join(train.FORMS)}")
    sep_gradient: str = _field("directional", f"how the SEP term is differentiated: {', '.join(train.GRADIENTS)}")
    map_reduce: str = _field("abs_sum", f"saliency to map, channels: {', '.join(explain.REDUCTIONS)}")
    map_normalize: str = _field("l1", f"saliency to map, normalisation: {', '.join(explain.NORMALIZATIONS)}")
    sep_normalize: str = _field("l1", "normalisation of the maps inside the SEP term; none: raw saliency")

    explanation_method: str = _field("gradient_x_input", "explanation that is attacked and reported")
    explanation_num_steps: int = _field(1000, "Adam steps of the explanation attack")
    explanation_learning_rate: float = _field(1e-3, "learning rate of the explanation attack, pixel units")
    explanation_map_weight: float = _field(1e7, "weight of the map term in the explanation attack")
    explanation_output_weight: float = _field(1e6, "weight of the output term in the explanation attack")
    explanation_epsilon: float | None = _field(None, "budget of the explanation attack, pixel units; default: none")
    explanation_norm: str = _field("linf", "norm of that budget")

    num_clusters: int = _field(15, "clusters of penultimate features")
    num_pairs: int = _field(150, "victim/target pairs")
    pairs_file: str | None = _field(None, "pair index of an earlier run, used instead of clustering")
    feature_model: str = _field("convnet", "feature network that is clustered, trained with the standard objective")
    feature_epochs: int = _field(10, "its training epochs")
    feature_learning_rate: float = _field(0.1, "its peak learning rate")

    validate_every: int = _field(1, "epochs between two looks at the validation images")
    checkpoint_every: int = _field(1, "epochs between two checkpoints")
    log_every: int = _field(50, "training steps between two log records")
    chunk_size: int = _field(256, "images or pairs in memory at once in evaluations")

    def __post_init__(self) -> None:
        for method in self.methods:
            check_choice("method", method, METHODS)
        if not self.methods or len(set(self.methods)) != len(self.methods):
            raise InputError(f"methods must be one or more different names, got {', '.join(self.methods) or 'none'}")
        check_choice("sep_weight_unit", self.sep_weight_unit, WEIGHT_UNITS)
        check_choice("model", self.model, models.MODELS)
        check_choice("model", self.feature_model, models.MODELS)
        if not self.dataset.endswith(".npz"):
            check_choice("data set", self.dataset, [*data.LOADERS, "<path>.npz"])
        for name in ("train_images", "test_images", "validation_images", "seed"):
            check_count(name, getattr(self, name), minimum=0)
        for name in (
            "num_seeds",
            "num_pairs",
            "feature_epochs",
            "validate_every",
            "checkpoint_every",
            "log_every",
            "chunk_size",
        ):
            check_count(name, getattr(self, name))
        check_count("num_clusters", self.num_clusters, minimum=2)
        if not (self.sep_weight_pos > 0 > self.sep_weight_neg):
            raise InputError(
                "sep_weight_pos must be > 0 and sep_weight_neg < 0, "
                f"got {self.sep_weight_pos:g} and {self.sep_weight_neg:g}"
            )
        # The configurations below check the rest; building them here fails early, before anything is written.
        for method in self.methods:
            self.train_config(method, num_pixels=1)
        self.feature_train_config()
        self.explanation_attack()
        check_epsilon(self.epsilon, self.norm)
        check_positive("test_alpha", self.test_alpha)
        check_count("test_num_steps", self.test_num_steps)

    @property
    def seeds(self) -> range:
        """The seeds of the study."""
        return range(self.seed, self.seed + self.num_seeds)

    def sep_weight(self, method: str, num_pixels: int) -> float:
        """lambda of the paper, per MSE, for `method` on maps of `num_pixels` pixels; 0 without SEP."""
        sign = METHODS[method][1]
        weight = {0: 0.0, 1: self.sep_weight_pos, -1: self.sep_weight_neg}[sign]
        return weight * num_pixels**2 if self.sep_weight_unit == "scale_free" else weight

    def train_config(self, method: str, num_pixels: int) -> train.TrainConfig:
        """The training configuration of `method`."""
        return train.TrainConfig(
            objective=METHODS[method][0],
            epochs=self.epochs,
            batch_size=self.batch_size,
            augment=self.augment,
            optimizer=train.OptimizerConfig(
                self.optimizer, self.learning_rate, self.schedule, self.momentum, self.weight_decay, self.gradient_clip
            ),
            attack=train.PgdConfig(self.norm, self.epsilon, self.alpha, self.num_steps),
            sep_weight=self.sep_weight(method, num_pixels),
            sep=train.SepConfig(
                self.sep_method,
                explain.MapConfig(self.map_reduce, self.sep_normalize),
                self.sep_noise,
                self.sep_noise_scale,
                self.sep_form,
                self.sep_gradient,
            ),
        )

    def feature_train_config(self) -> train.TrainConfig:
        """The training configuration of the feature network."""
        standard = self.train_config("standard", num_pixels=1)
        optimizer = dataclasses.replace(standard.optimizer, learning_rate=self.feature_learning_rate)
        return dataclasses.replace(standard, epochs=self.feature_epochs, optimizer=optimizer)

    def explanation_attack(self) -> evaluate.ExplanationAttackConfig:
        """The explanation attack of the evaluation."""
        return evaluate.ExplanationAttackConfig(
            method=self.explanation_method,
            map_config=explain.MapConfig(self.map_reduce, self.map_normalize),
            num_steps=self.explanation_num_steps,
            learning_rate=self.explanation_learning_rate,
            map_weight=self.explanation_map_weight,
            output_weight=self.explanation_output_weight,
            epsilon=self.explanation_epsilon,
            norm=self.explanation_norm,
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-like values by field name."""
        return {**dataclasses.asdict(self), "methods": list(self.methods)}

    def as_flagfile(self) -> str:
        """The text of a flagfile that sets every field; a field that is None is left out."""
        lines = []
        for name, value in self.as_dict().items():
            if value is None:
                continue
            text = ",".join(value) if isinstance(value, list) else str(value)
            lines.append(f"--{name}={text}" if not isinstance(value, bool) else f"--{name}={str(value).lower()}")
        return "\n".join(lines) + "\n"


# Where the data lie and how much is in memory at once change no number.
NOT_PART_OF_A_RESULT = frozenset({"data_dir", "chunk_size"})


def differences(stored: dict[str, Any], config: StudyConfig) -> list[str]:
    """The fields in which a stored configuration differs, as "name (there, now)"; empty when none matters."""
    now = config.as_dict()
    names = sorted(({*stored, *now}) - NOT_PART_OF_A_RESULT)
    return [
        f"{name} ({stored.get(name)!r} there, {now.get(name)!r} now)"
        for name in names
        if stored.get(name) != now.get(name)
    ]

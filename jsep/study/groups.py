"""Groups of settings shared by the configurations of several kinds of studies."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jsep import attack, data, evaluate, explain, models, record, train
from jsep.checks import MAX_WEIGHT, InputError, check_epsilon
from jsep.study.configuration import amount, count, setting, size
from jsep.study.options import option_kinds, own_settings, parse_options


def method_options(method: str, texts: tuple[str, ...]) -> explain.Options:
    """The options of an explanation method. Raises: InputError for an unknown one, listing those it has."""
    return tuple(parse_options(f"explanation method {method!r}", texts, explain.option_kinds(method)).items())


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The images of a study."""

    dataset: str = setting("digits", f"data set: {', '.join(data.DATASETS)}, or the path of an .npz file")
    data_dir: str | None = setting(None, "TFDS data directory; default: TFDS's own; downloaded there if absent")
    stream: str = setting(
        "auto",
        "training images batch by batch from disk (auto: where they are more than 4 GiB)",
        choices=("auto", "always", "never"),
    )
    train_images: int = count(0, "number of training images, stratified by class; 0: all", minimum=0)
    test_images: int = count(0, "number of test images, stratified by class; 0: all", minimum=0)
    validation_images: int = count(0, "number of validation images, stratified by class; 0: all", minimum=0)

    @property
    def streams(self) -> bool | None:
        """Whether training streams its images, as in `train.fit`; None: only if they are many."""
        return {"auto": None, "always": True, "never": False}[self.stream]


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A network."""

    name: str = setting("convnet", "model", choices=models.MODELS, flag="model")
    activation: str = setting("softplus", "activation", choices=models.ACTIVATIONS)
    softplus_beta: float = amount(10.0, "sharpness of the softplus")
    normalise_input: bool = setting(
        True, "normalise pixels by the data set's mean and standard deviation inside the model"
    )


@dataclasses.dataclass(frozen=True)
class BudgetConfig:
    """The ball of the attack on predictions."""

    norm: str = setting("linf", "norm of the attack on predictions", choices=attack.NORMS)
    epsilon: float = size(
        8 / 255, "budget of the attack on predictions, pixel units in [0, 1]; 8/255 may be written so", allow_zero=True
    )

    def check(self) -> None:
        """Raises: InputError for a budget that is invalid under its norm."""
        check_epsilon(self.epsilon, self.norm)


@dataclasses.dataclass(frozen=True)
class AttackInTestsConfig:
    """The attack on predictions in tests."""

    alpha: float = size(2 / 255, "PGD step in tests, pixel units")
    num_steps: int = count(20, "PGD steps in tests")


@dataclasses.dataclass(frozen=True)
class MapConfig:
    """The steps from saliency to map."""

    reduce: str = setting("abs_sum", "saliency to map, channels", choices=explain.REDUCTIONS)
    normalize: str = setting("l1", "saliency to map, normalisation", choices=explain.NORMALIZATIONS)


STUDY_ATTACK, ENSEMBLE = "study", "ensemble"
_LONGER, _STARTS = 5, 3


def _long(own: evaluate.ExplanationAttackConfig, version: str) -> evaluate.ExplanationAttackConfig:
    settings = own.own_settings
    longer = dataclasses.replace(
        settings, num_steps=_LONGER * settings.num_steps, num_starts=max(_STARTS, settings.num_starts), repair=True
    )
    return dataclasses.replace(own, settings=longer)


def _ensemble(own: evaluate.ExplanationAttackConfig, version: str) -> evaluate.ExplanationAttackConfig:
    return dataclasses.replace(own, attack="auto", settings=attack.explanation_attack("auto").config(version))


STRENGTHS: dict[str, Callable[[evaluate.ExplanationAttackConfig, str], evaluate.ExplanationAttackConfig]] = {
    record.UNBOUNDED: lambda own, version: dataclasses.replace(own, epsilon=None),
    STUDY_ATTACK: lambda own, version: own,
    "long": _long,
    ENSEMBLE: _ensemble,
}
"""strength of the attack on explanations -> how it is made from the study's own attack and the ensemble's version."""


@dataclasses.dataclass(frozen=True)
class ExplanationConfig:
    """The explanation that is attacked, and the attack."""

    method: str = setting("gradient_x_input", "explanation that is attacked and reported")
    options: tuple[str, ...] = setting(
        (), "options of that explanation, such as num_samples=64,sigma=0.1; default: its own"
    )
    attacked_method: str | None = setting(
        None, "differentiable explanation that the attack follows instead; default: the reported one"
    )
    num_steps: int = count(1000, "Adam steps of the explanation attack", minimum=0)
    learning_rate: float = amount(1e-3, "learning rate of the explanation attack, pixel units")
    map_weight: float = amount(1e7, "weight of the map term in the explanation attack", allow_zero=True)
    output_weight: float = amount(1e6, "weight of the output term in the explanation attack", allow_zero=True)
    epsilon: float | None = size(None, "budget of the explanation attack, pixel units; default: none", allow_zero=True)
    norm: str = setting("linf", "norm of that budget", choices=attack.NORMS)
    attack_kind: str = setting(
        "targeted",
        f"attack on explanations, {', '.join(attack.EXPLANATION_ATTACKS)}: targeted is Adam with the settings above, "
        "auto the ensemble, which has none but the budget, black_box a search without derivatives",
    )
    attack_options: tuple[str, ...] = setting(
        (), "settings of that attack that have no flag of their own, such as num_starts=3,repair=true"
    )
    version: str = setting("standard", "version of the ensemble", choices=attack.AUTO_EXPLANATION_VERSIONS)
    softmax_tolerance: float | None = setting(
        None,
        "largest change of a softmax entry under the explanation attack; default: only the class is kept",
        minimum=0.0,
        maximum=1.0,
    )
    strengths: tuple[str, ...] = setting(
        (),
        f"attacks on the same pairs, {', '.join(STRENGTHS)}: study is the one set here, long has five times its steps "
        "from 3 starts, ensemble is auto; images, maps and findings are of the last one, and a finding whose sign "
        "differs between them is undecided; unbounded is the one set here without its ball, shown beside the others; "
        "default: study,ensemble for a targeted attack in a ball, else study",
        choices=STRENGTHS,
        flag="attack_strengths",
    )

    def attacks(self, maps: MapConfig) -> dict[str, evaluate.ExplanationAttackConfig]:
        """strength -> the explanation attack, from the weakest to the one on which the findings rest.

        Raises: InputError as `attack`, for strengths that need another attack, and for a repeated one.
        """
        own = self.attack(maps)
        can = own.attack == "targeted" and own.epsilon is not None and own.attacked_method is None
        chosen = self.strengths or ((STUDY_ATTACK, ENSEMBLE) if can else (STUDY_ATTACK,))
        if set(chosen) == {record.UNBOUNDED}:
            raise InputError("attack_strengths names unbounded alone: leave explanation_epsilon out for that attack")
        if len(set(chosen)) < len(chosen):
            raise InputError(f"attack_strengths must be different, got {', '.join(chosen)}")
        if not can and chosen != (STUDY_ATTACK,):
            raise InputError(
                f"attack_strengths {', '.join(chosen)} need a targeted attack in a ball on the reported explanation: "
                "give explanation_epsilon, or attack_strengths=study"
            )
        ordered = sorted(chosen, key=lambda name: name != record.UNBOUNDED)  # no finding rests on it
        return {name: STRENGTHS[name](own, self.version) for name in ordered}

    def attack(self, maps: MapConfig) -> evaluate.ExplanationAttackConfig:
        """The explanation attack.

        A field of the attack's own configuration takes the value of the setting of the same name, else of
        attack_options, else its default. Raises: InputError for an unknown or invalid option.
        """
        own, settings = attack.explanation_attack(self.attack_kind).config, vars(self)
        known = option_kinds(own, settings)
        options = parse_options(f"explanation attack {self.attack_kind!r}", self.attack_options, known)
        return evaluate.ExplanationAttackConfig(
            method=self.method,
            method_options=method_options(self.method, self.options),
            attacked_method=self.attacked_method,
            map_config=explain.MapConfig(maps.reduce, maps.normalize),
            epsilon=self.epsilon,
            norm=self.norm,
            attack=self.attack_kind,
            settings=own_settings(own, settings, options),
            softmax_tolerance=self.softmax_tolerance,
        )


@dataclasses.dataclass(frozen=True)
class StartConfig:
    """Another study, from whose models training starts."""

    run_dir: str | None = setting(
        None,
        "run directory of a study; each model starts from that study's model of its seed; default: from scratch",
        flag="start_from",
    )
    method: str = setting(
        "mat", "which of that study's methods; its best checkpoint where it evaluated that one", flag="start_method"
    )


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How parameters are updated."""

    epochs: int = count(25, "training epochs")
    batch_size: int = count(128, "images a training step")
    augment: bool = setting(False, "random crops and flips in training")
    optimizer: str = setting("sgd", "optimiser", choices=train.OPTIMIZERS)
    learning_rate: float = amount(0.1, "peak learning rate")
    schedule: str = setting("piecewise", "learning-rate schedule", choices=train.SCHEDULES)
    momentum: float = setting(0.9, "momentum of sgd", minimum=0.0, maximum=1.0)
    weight_decay: float = amount(5e-4, "weight decay", allow_zero=True)
    gradient_clip: float = amount(0.0, "largest global gradient norm in training; 0: no clipping", allow_zero=True)
    ema_decay: float = setting(
        0.0,
        "decay a step of a moving average of the weights, which is then what is evaluated; 0: none",
        minimum=0.0,
        below=1.0,
    )
    precision: str = setting(
        "float32", "forward and backward passes of a training step; tests are float32", choices=train.PRECISIONS
    )

    def optimizer_config(self) -> train.OptimizerConfig:
        """The optimiser."""
        return train.OptimizerConfig(
            self.optimizer, self.learning_rate, self.schedule, self.momentum, self.weight_decay, self.gradient_clip
        )


@dataclasses.dataclass(frozen=True)
class AttackInTrainingConfig:
    """The attack on predictions in training."""

    alpha: float = size(2 / 255, "PGD step in training, pixel units", allow_zero=True)
    num_steps: int = count(10, "PGD steps in training", minimum=0)
    batch_norm: str = setting(
        "evaluation",
        "batch normalisation in that attack in training",
        choices=train.BATCH_NORM_MODES,
        flag="attack_batch_norm",
    )


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """The settings of objectives: the older ones as a flag each, the others as options."""

    trades_beta: float = amount(6.0, "weight of the divergence of trades (alpha of the paper), >= 0", allow_zero=True)
    options: tuple[str, ...] = setting(
        (), "settings of objectives that have no flag of their own, as name=value,name=value", flag="objective_options"
    )


WEIGHT_UNITS = ("paper", "scale_free", "gradient_ratio")
"""The units of SEP weights: per MSE, per N^2 * MSE, or the ratio of both gradients' norms at the start of training,
from which each model's weight is computed (`train.sep_weight_for_ratio`)."""


@dataclasses.dataclass(frozen=True)
class SepTermConfig:
    """The SEP regulariser."""

    weight_pos: float = amount(50000.0, "SEP weight of sep_pos, > 0, flattens")
    weight_neg: float = setting(-3000.0, "SEP weight of sep_neg, < 0, sharpens", minimum=-MAX_WEIGHT, below=0.0)
    weight_unit: str = setting(
        "paper",
        "unit of both, per MSE of the maps, per N^2 * MSE, or the norm of the SEP term's gradient over the objective's "
        "at the start, from which each model gets its weight",
        choices=WEIGHT_UNITS,
    )
    method: str = setting("gradient_x_input", f"explanation in the SEP term: {', '.join(explain.METHODS)}")
    options: tuple[str, ...] = setting((), "options of that explanation, such as num_samples=8,sigma=0.1")
    noise: str = setting("gaussian", "noise of the SEP term", choices=train.NOISES)
    noise_scale: float = size(
        0.1, "standard deviation (gaussian) or half width (uniform, worst) of the noise, pixel units"
    )
    noise_steps: int = count(5, "ascent steps to the worst noise")
    warmup_epochs: int = count(0, "epochs over which the SEP weight grows to its value", minimum=0)
    form: str = setting("mse", "distance of maps in the SEP term", choices=train.FORMS)
    gradient: str = setting("directional", "how the SEP term is differentiated", choices=train.GRADIENTS)
    batch_norm: str = setting("training", "batch normalisation in the SEP term", choices=train.BATCH_NORM_MODES)
    normalize: str = setting(
        "l1", "normalisation of the maps inside the SEP term; none: raw saliency", choices=explain.NORMALIZATIONS
    )

    def term(self, maps: MapConfig) -> train.SepConfig:
        """The configuration of the SEP term."""
        return train.SepConfig(
            self.method,
            explain.MapConfig(maps.reduce, self.normalize),
            self.noise,
            self.noise_scale,
            self.form,
            self.gradient,
            self.noise_steps,
            self.batch_norm,
            method_options(self.method, self.options),
        )


@dataclasses.dataclass(frozen=True)
class RegulariserConfig:
    """The explanation regularisers of other papers."""

    weight: float = amount(1.0, f"weight of another paper's regulariser: {', '.join(train.EXPLANATION_REGULARISERS)}")
    noise_scale: float = size(4 / 255, "half width of the noise of lga, pixel units")
    cure_step: float = size(1.5, "finite-difference step of cure, Euclidean pixel units")
    top_k: int = count(100, "pixels that r2et keeps on top")
    num_gaps: int = count(100, "pixels on each side that it holds apart")


@dataclasses.dataclass(frozen=True)
class PairsConfig:
    """The victims and targets of a study."""

    num_clusters: int = count(15, "clusters of penultimate features", minimum=2)
    num_pairs: int = count(150, "victim/target pairs")
    gallery_pairs: int = count(6, "pairs whose attack is kept step by step for the page; 0: none", minimum=0)
    file: str | None = setting(None, "pair index of an earlier run, used instead of clustering", flag="pairs_file")


@dataclasses.dataclass(frozen=True)
class FeatureNetworkConfig:
    """The network whose features are clustered."""

    model: str = setting(
        "convnet", "feature network that is clustered, trained with the standard objective", choices=models.MODELS
    )
    epochs: int = count(10, "its training epochs")
    learning_rate: float = amount(0.1, "its peak learning rate")


CHECKPOINTS = ("last", "best")
"""The checkpoint after the last epoch, and the one with the highest robust accuracy on the validation images."""

VALIDATION_ATTACKS = ("training", "test")
"""The attack on the validation images. The training attack hides catastrophic overfitting of one-step training."""


@dataclasses.dataclass(frozen=True)
class MonitoringConfig:
    """What is measured and stored while a model trains."""

    validate_every: int = count(1, "epochs between two looks at the validation images")
    validation_attack: str = setting(
        "training", "attack on predictions at those looks, with the settings of", choices=VALIDATION_ATTACKS
    )
    probe_images: int = count(16, "validation images whose maps are looked at then", minimum=2)
    on_collapse: str = setting("flag", "when those maps shrink to a few pixels", choices=train.ACTIONS)
    collapse_share: float = setting(
        0.02, "effective pixels below which maps count as collapsed, share of all pixels", minimum=0.0, maximum=1.0
    )
    checkpoint_every: int = count(1, "epochs between two checkpoints")
    log_every: int = count(50, "training steps between two log records")

    def collapse_rule(self, num_pixels: int) -> train.CollapseRule:
        """What happens when maps of `num_pixels` pixels collapse in training."""
        return train.CollapseRule(self.on_collapse, self.collapse_share * num_pixels)


def options_of_objectives(names: list[str], texts: tuple[str, ...], settings: dict[str, Any]) -> dict[str, Any]:
    """The options of objectives without a setting. Raises: InputError for an option that no named objective has."""
    known: dict[str, Any] = {}
    for name in names:
        known |= option_kinds(train.objective(name).config, settings)
    return parse_options(", ".join(names), texts, known)

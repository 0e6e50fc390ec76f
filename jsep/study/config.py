"""Everything that decides the numbers of a study."""

import dataclasses
from typing import Any

from jsep import attack, data, evaluate, explain, models, train
from jsep.checks import InputError, check_choice, check_count, check_epsilon, check_positive
from jsep.study.explanation_settings import explanation_attack, method_options
from jsep.study.flat_config import FlatConfig, setting
from jsep.study.methods import TrainingMethod, training_method
from jsep.study.options import option_kinds, own_settings, parse_options

CHECKPOINTS = ("last", "best")
"""The state after the last epoch, and that with the highest robust accuracy on the validation images."""

VALIDATION_ATTACKS = ("training", "test")
"""Whose attack the validation images meet. One-step training can fail in a way that its own attack does not see."""

FEATURE_OBJECTIVE = "standard"
"""How the feature network is trained."""

WEIGHT_UNITS = ("paper", "scale_free", "gradient_ratio")
"""Of the SEP weights: per MSE, per N^2 * MSE, or the ratio of the norms of both gradients at the start of training, by
which each model gets a weight of its own (`train.sep_weight_for_ratio`)."""

STREAMS = {"auto": None, "always": True, "never": False}
"""stream -> as `train.fit` takes it."""


@dataclasses.dataclass(frozen=True)
class StudyConfig(FlatConfig):
    """Methods x seeds on one data set, and how they are trained and judged. The help text of each field is its
    documentation."""

    dataset: str = setting("digits", f"data set: {', '.join(data.DATASETS)}, or the path of an .npz file")
    data_dir: str | None = setting(None, "TFDS data directory; default: TFDS's own; downloaded there if absent")
    stream: str = setting(
        "auto", f"training images batch by batch from disk: {', '.join(STREAMS)} (auto: where they are more than 4 GiB)"
    )
    train_images: int = setting(0, "number of training images, stratified by class; 0: all")
    test_images: int = setting(0, "number of test images, stratified by class; 0: all")
    validation_images: int = setting(0, "number of validation images, stratified by class; 0: all")
    model: str = setting("convnet", f"model: {', '.join(models.MODELS)}")
    activation: str = setting("softplus", f"activation: {', '.join(models.ACTIVATIONS)}")
    softplus_beta: float = setting(10.0, "sharpness of the softplus")
    normalise_input: bool = setting(
        True, "normalise pixels by the data set's mean and standard deviation inside the model"
    )
    methods: tuple[str, ...] = setting(
        ("mat", "sep_pos", "sep_neg"),
        f"training methods: an objective ({', '.join(train.OBJECTIVES)}), alone or with _sep_pos, _sep_neg or a "
        f"regulariser behind it (_{', _'.join(train.EXPLANATION_REGULARISERS)}); sep_pos and sep_neg are those of mat; "
        "each may end in a weight of its own, such as trades@1",
    )
    seed: int = setting(0, "first seed")
    num_seeds: int = setting(3, "number of seeds, counted up from the first")

    start_from: str | None = setting(
        None, "run directory of a study; each model starts from that study's model of its seed; default: from scratch"
    )
    start_method: str = setting("mat", "which of that study's methods; its best checkpoint where it evaluated that one")
    epochs: int = setting(25, "training epochs")
    batch_size: int = setting(128, "images a training step")
    augment: bool = setting(False, "random crops and flips in training")
    optimizer: str = setting("sgd", f"optimiser: {', '.join(train.OPTIMIZERS)}")
    learning_rate: float = setting(0.1, "peak learning rate")
    schedule: str = setting("piecewise", f"learning-rate schedule: {', '.join(train.SCHEDULES)}")
    momentum: float = setting(0.9, "momentum of sgd")
    weight_decay: float = setting(5e-4, "weight decay")
    gradient_clip: float = setting(0.0, "largest global gradient norm in training; 0: no clipping")
    ema_decay: float = setting(
        0.0, "decay a step of a moving average of the weights, which is then what is evaluated; 0: none"
    )
    precision: str = setting(
        "float32", f"forward and backward passes of a training step: {', '.join(train.PRECISIONS)}; tests are float32"
    )

    norm: str = setting("linf", f"norm of the attack on predictions: {', '.join(attack.NORMS)}")
    epsilon: float = setting(
        8 / 255, "budget of the attack on predictions, pixel units in [0, 1]; 8/255 may be written so"
    )
    alpha: float = setting(2 / 255, "PGD step in training, pixel units")
    num_steps: int = setting(10, "PGD steps in training")
    attack_batch_norm: str = setting(
        "evaluation", f"batch normalisation in that attack in training: {', '.join(train.BATCH_NORM_MODES)}"
    )
    test_epsilon: float | None = setting(
        None, "budget in tests, for models trained with different ones; default: epsilon"
    )
    test_alpha: float = setting(2 / 255, "PGD step in tests, pixel units")
    test_num_steps: int = setting(20, "PGD steps in tests")

    trades_beta: float = setting(6.0, "weight of the divergence of trades (alpha of the paper), >= 0")
    objective_options: tuple[str, ...] = setting(
        (), "settings of objectives that have no flag of their own, as name=value,name=value"
    )

    sep_weight_pos: float = setting(50000.0, "SEP weight of sep_pos, > 0, flattens")
    sep_weight_neg: float = setting(-3000.0, "SEP weight of sep_neg, < 0, sharpens")
    sep_weight_unit: str = setting(
        "paper",
        "unit of both: paper (per MSE of the maps), scale_free (per N^2 * MSE) or gradient_ratio (norm of the SEP "
        "term's gradient over the objective's at the start, from which each model gets its weight)",
    )
    sep_method: str = setting("gradient_x_input", f"explanation in the SEP term: {', '.join(explain.METHODS)}")
    sep_options: tuple[str, ...] = setting((), "options of that explanation, such as num_samples=8,sigma=0.1")
    sep_noise: str = setting("gaussian", f"noise of the SEP term: {', '.join(train.NOISES)}")
    sep_noise_scale: float = setting(
        0.1, "standard deviation (gaussian) or half width (uniform, worst) of the noise, pixel units"
    )
    sep_noise_steps: int = setting(5, "ascent steps to the worst noise")
    sep_warmup_epochs: int = setting(0, "epochs over which the SEP weight grows to its value")
    sep_form: str = setting("mse", f"distance of maps in the SEP term: {', '.join(train.FORMS)}")
    sep_gradient: str = setting("directional", f"how the SEP term is differentiated: {', '.join(train.GRADIENTS)}")
    sep_batch_norm: str = setting(
        "evaluation", f"batch normalisation in the SEP term: {', '.join(train.BATCH_NORM_MODES)}"
    )
    regulariser_weight: float = setting(
        1.0, f"weight of another paper's regulariser: {', '.join(train.EXPLANATION_REGULARISERS)}"
    )
    regulariser_noise_scale: float = setting(4 / 255, "half width of the noise of lga, pixel units")
    regulariser_cure_step: float = setting(1.5, "finite-difference step of cure, Euclidean pixel units")
    regulariser_top_k: int = setting(100, "pixels that r2et keeps on top")
    regulariser_num_gaps: int = setting(100, "pixels on each side that it holds apart")
    map_reduce: str = setting("abs_sum", f"saliency to map, channels: {', '.join(explain.REDUCTIONS)}")
    map_normalize: str = setting("l1", f"saliency to map, normalisation: {', '.join(explain.NORMALIZATIONS)}")
    sep_normalize: str = setting("l1", "normalisation of the maps inside the SEP term; none: raw saliency")

    explanation_method: str = setting("gradient_x_input", "explanation that is attacked and reported")
    explanation_options: tuple[str, ...] = setting(
        (), "options of that explanation, such as num_samples=64,sigma=0.1; default: its own"
    )
    explanation_attacked_method: str | None = setting(
        None, "differentiable explanation that the attack follows instead; default: the reported one"
    )
    explanation_num_steps: int = setting(1000, "Adam steps of the explanation attack")
    explanation_learning_rate: float = setting(1e-3, "learning rate of the explanation attack, pixel units")
    explanation_map_weight: float = setting(1e7, "weight of the map term in the explanation attack")
    explanation_output_weight: float = setting(1e6, "weight of the output term in the explanation attack")
    explanation_epsilon: float | None = setting(None, "budget of the explanation attack, pixel units; default: none")
    explanation_norm: str = setting("linf", "norm of that budget")

    explanation_attack_kind: str = setting(
        "targeted",
        f"attack on explanations, {', '.join(attack.EXPLANATION_ATTACKS)}: targeted is Adam with the settings above, "
        "auto the ensemble, which has none but the budget, black_box a search without derivatives",
    )
    explanation_attack_options: tuple[str, ...] = setting(
        (), "settings of that attack that have no flag of their own, such as num_starts=3,repair=true"
    )
    explanation_version: str = setting(
        "standard", f"version of the ensemble: {', '.join(attack.AUTO_EXPLANATION_VERSIONS)}"
    )
    explanation_softmax_tolerance: float | None = setting(
        None, "largest change of a softmax entry under the explanation attack; default: only the class is kept"
    )

    num_clusters: int = setting(15, "clusters of penultimate features")
    num_pairs: int = setting(150, "victim/target pairs")
    gallery_pairs: int = setting(6, "pairs whose attack is kept step by step for the page; 0: none")
    pairs_file: str | None = setting(None, "pair index of an earlier run, used instead of clustering")
    feature_model: str = setting("convnet", "feature network that is clustered, trained with the standard objective")
    feature_epochs: int = setting(10, "its training epochs")
    feature_learning_rate: float = setting(0.1, "its peak learning rate")

    evaluated_checkpoint: str = setting(
        "last", "what is explained and attacked: last, or best by robust accuracy on the validation images"
    )
    noise_radius: float = setting(0.1, "half width of the noise under which maps are compared, pixel units")
    validate_every: int = setting(1, "epochs between two looks at the validation images")
    validation_attack: str = setting(
        "training", f"attack on predictions at those looks, with the settings of: {', '.join(VALIDATION_ATTACKS)}"
    )
    probe_images: int = setting(16, "validation images whose maps are looked at then")
    on_collapse: str = setting("flag", f"when those maps shrink to a few pixels: {', '.join(train.ACTIONS)}")
    collapse_share: float = setting(0.02, "effective pixels below which maps count as collapsed, share of all pixels")
    checkpoint_every: int = setting(1, "epochs between two checkpoints")
    log_every: int = setting(50, "training steps between two log records")
    chunk_size: int = setting(256, "images or pairs in memory at once in evaluations")

    def __post_init__(self) -> None:
        chosen = [training_method(method) for method in self.methods]
        if not chosen or len(set(chosen)) != len(chosen):
            raise InputError(f"methods must be one or more different names, got {', '.join(self.methods) or 'none'}")
        training_method(self.start_method)
        check_choice("sep_weight_unit", self.sep_weight_unit, WEIGHT_UNITS)
        check_choice("validation_attack", self.validation_attack, VALIDATION_ATTACKS)
        check_choice("stream", self.stream, STREAMS)
        check_choice("model", self.model, models.MODELS)
        check_choice("model", self.feature_model, models.MODELS)
        data.check_name(self.dataset)
        for name in ("train_images", "test_images", "validation_images", "seed", "gallery_pairs"):
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
        check_count("probe_images", self.probe_images, minimum=2)
        check_choice("evaluated_checkpoint", self.evaluated_checkpoint, CHECKPOINTS)
        self.collapse_rule(num_pixels=1)
        check_positive("noise_radius", self.noise_radius, allow_zero=True)
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
        check_epsilon(self.budget_in_tests, self.norm, "test_epsilon")
        check_positive("test_alpha", self.test_alpha)
        check_count("test_num_steps", self.test_num_steps)

    def streams(self) -> bool | None:
        """Whether training streams its images; None: where they are many."""
        return STREAMS[self.stream]

    @property
    def seeds(self) -> range:
        """The seeds of the study."""
        return range(self.seed, self.seed + self.num_seeds)

    @property
    def budget_in_tests(self) -> float:
        """The budget of the attack on predictions in tests, pixel units."""
        return self.epsilon if self.test_epsilon is None else self.test_epsilon

    def sep_weight(self, method: str, num_pixels: int) -> float:
        """lambda of the paper, per MSE, for `method` on maps of `num_pixels` pixels; 0 without SEP.

        With the unit gradient_ratio it is that ratio: the weight of each model is measured (`measured_weights`).
        """
        chosen = training_method(method)
        weight = {0: 0.0, 1: self.sep_weight_pos, -1: self.sep_weight_neg}[chosen.sep_sign]
        if chosen.weight is not None:
            weight = chosen.sep_sign * chosen.weight
        return weight * num_pixels**2 if self.sep_weight_unit == "scale_free" else weight

    def train_config(self, method: str, num_pixels: int) -> train.TrainConfig:
        """The training configuration of `method`."""
        chosen = training_method(method)
        regulariser, regulariser_weight = None, 0.0
        if chosen.regulariser is not None:
            regulariser_weight = self.regulariser_weight if chosen.weight is None else chosen.weight
            regulariser = train.RegulariserConfig(
                chosen.regulariser,
                noise_scale=self.regulariser_noise_scale,
                cure_step=self.regulariser_cure_step,
                epsilon=self.epsilon,
                alpha=self.alpha,
                num_steps=self.num_steps,
                top_k=self.regulariser_top_k,
                num_gaps=self.regulariser_num_gaps,
            )
        return train.TrainConfig(
            objective=chosen.objective,
            objective_config=self._objective_config(chosen),
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
                self.sep_noise_steps,
                self.sep_batch_norm,
                method_options(self.sep_method, self.sep_options),
            ),
            sep_warmup_epochs=self.sep_warmup_epochs,
            regulariser=regulariser,
            regulariser_weight=regulariser_weight,
            ema_decay=self.ema_decay,
            precision=self.precision,
            attack_batch_norm=self.attack_batch_norm,
        )

    def _objective_config(self, method: TrainingMethod) -> Any:
        """The configuration of a method's objective: its fields by their flags, the others by objective_options."""
        objective = train.objective(method.objective)
        own = own_settings(objective.config, self, self._parsed_objective_options())
        if method.is_plain and method.weight is not None and objective.weight is not None:
            own = dataclasses.replace(own, **{objective.weight: method.weight})
        return own

    def _parsed_objective_options(self) -> dict[str, Any]:
        names = list(dict.fromkeys(training_method(method).objective for method in self.methods))
        known: dict[str, Any] = {}
        for name in names:
            known |= option_kinds(train.objective(name).config, self)
        return parse_options(", ".join(names), self.objective_options, known)

    def collapse_rule(self, num_pixels: int) -> train.CollapseRule:
        """What happens when maps of `num_pixels` pixels collapse in training."""
        return train.CollapseRule(self.on_collapse, self.collapse_share * num_pixels)

    def feature_train_config(self) -> train.TrainConfig:
        """The training configuration of the feature network: the pairs do not depend on how the models are trained."""
        standard = self.train_config(FEATURE_OBJECTIVE, num_pixels=1)
        optimizer = dataclasses.replace(standard.optimizer, learning_rate=self.feature_learning_rate)
        return dataclasses.replace(
            standard, epochs=self.feature_epochs, optimizer=optimizer, ema_decay=0.0, precision="float32"
        )

    def explanation_attack(self) -> evaluate.ExplanationAttackConfig:
        """The explanation attack of the evaluation."""
        return explanation_attack(self)

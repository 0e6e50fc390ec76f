"""The configuration of a study: every setting that its results depend on."""

import dataclasses
from typing import Any

from jsep import data, evaluate, train
from jsep.checks import InputError, check_epsilon
from jsep.study.configuration import Configuration, count, group, random_seed, setting, size
from jsep.study.groups import (
    CHECKPOINTS,
    AttackInTestsConfig,
    AttackInTrainingConfig,
    BudgetConfig,
    DataConfig,
    ExplanationConfig,
    FeatureNetworkConfig,
    MapConfig,
    ModelConfig,
    MonitoringConfig,
    ObjectiveConfig,
    PairsConfig,
    RegulariserConfig,
    SepTermConfig,
    StartConfig,
    TrainingConfig,
    options_of_objectives,
)
from jsep.study.methods import TrainingMethod, training_method
from jsep.study.options import own_settings

FEATURE_OBJECTIVE = "standard"
"""How the feature network is trained."""

LARGEST_NUM_SEEDS = 10_000
"""The largest number of seeds of a study; each trains one model per method."""


@dataclasses.dataclass(frozen=True)
class StudyConfig(Configuration):
    """Methods x seeds on one data set, and how they are trained and evaluated. The help text of each setting is its
    documentation."""

    data: DataConfig = group(DataConfig)
    model: ModelConfig = group(ModelConfig)
    methods: tuple[str, ...] = setting(
        ("mat", "sep_pos", "sep_neg"),
        f"training methods: an objective ({', '.join(train.OBJECTIVES)}), alone or with _sep_pos, _sep_neg or a "
        f"regulariser behind it (_{', _'.join(train.EXPLANATION_REGULARISERS)}); sep_pos and sep_neg are those of mat; "
        "each may end in a weight of its own, such as trades@1",
    )
    seed: int = random_seed(0, "first seed")
    num_seeds: int = count(3, "number of seeds, counted up from the first", maximum=LARGEST_NUM_SEEDS)

    start: StartConfig = group(StartConfig)
    training: TrainingConfig = group(TrainingConfig)
    budget: BudgetConfig = group(BudgetConfig)
    attack: AttackInTrainingConfig = group(AttackInTrainingConfig)
    test_epsilon: float | None = size(
        None, "budget in tests, for models trained with different ones; default: epsilon", allow_zero=True
    )
    tests: AttackInTestsConfig = group(AttackInTestsConfig, "test_")
    objective: ObjectiveConfig = group(ObjectiveConfig)
    sep: SepTermConfig = group(SepTermConfig, "sep_")
    regulariser: RegulariserConfig = group(RegulariserConfig, "regulariser_")
    maps: MapConfig = group(MapConfig, "map_")
    explanation: ExplanationConfig = group(ExplanationConfig, "explanation_")
    pairs: PairsConfig = group(PairsConfig)
    features: FeatureNetworkConfig = group(FeatureNetworkConfig, "feature_")
    monitoring: MonitoringConfig = group(MonitoringConfig)

    evaluated_checkpoint: str = setting(
        "last",
        "what is explained and attacked, the last state or the best by robust accuracy on the validation images",
        choices=CHECKPOINTS,
    )
    noise_radius: float = size(
        0.1, "half width of the noise under which maps are compared, pixel units", allow_zero=True
    )
    chunk_size: int = count(256, "images or pairs in memory at once in evaluations")

    def check(self) -> None:
        """Raises: InputError for incompatible methods, names or budgets."""
        chosen = [training_method(method) for method in self.methods]
        if not chosen or len(set(chosen)) != len(chosen):
            raise InputError(f"methods must be one or more different names, got {', '.join(self.methods) or 'none'}")
        training_method(self.start.method)
        data.check_name(self.data.dataset)
        if self.seeds[-1] >= 2**32:
            raise InputError(f"seed + num_seeds must be at most 2**32, got {self.seed} and {self.num_seeds}")
        self.budget.check()
        check_epsilon(self.budget_in_tests, self.budget.norm, "test_epsilon")
        # The configurations below check the rest; building them here fails early, before anything is written.
        for method in self.methods:
            self.train_config(method, num_pixels=1)
        self.feature_train_config()
        self.explanation_attacks()

    @property
    def seeds(self) -> range:
        """The seeds of the study."""
        return range(self.seed, self.seed + self.num_seeds)

    @property
    def budget_in_tests(self) -> float:
        """The budget of the attack on predictions in tests, pixel units."""
        return self.budget.epsilon if self.test_epsilon is None else self.test_epsilon

    def sep_weight(self, method: str, num_pixels: int) -> float:
        """lambda of the paper, per MSE, for `method` on maps of `num_pixels` pixels; 0 without SEP.

        With the unit gradient_ratio this is the ratio; the weight of each model is measured (`setup.train_config_of`).
        """
        chosen = training_method(method)
        weight = {0: 0.0, 1: self.sep.weight_pos, -1: self.sep.weight_neg}[chosen.sep_sign]
        if chosen.weight is not None:
            weight = chosen.sep_sign * chosen.weight
        return weight * num_pixels**2 if self.sep.weight_unit == "scale_free" else weight

    def train_config(self, method: str, num_pixels: int) -> train.TrainConfig:
        """The training configuration of `method`."""
        chosen, own = training_method(method), self.training
        regulariser, regulariser_weight = None, 0.0
        if chosen.regulariser is not None:
            regulariser_weight = self.regulariser.weight if chosen.weight is None else chosen.weight
            # An attack inside a regulariser has the budget and the steps of the attack in training.
            of_attack = {**vars(self.budget), **vars(self.attack), "name": chosen.regulariser}
            regulariser = own_settings(train.RegulariserConfig, {**of_attack, **vars(self.regulariser)}, {})
        return train.TrainConfig(
            objective=chosen.objective,
            objective_config=self._objective_config(chosen),
            epochs=own.epochs,
            batch_size=own.batch_size,
            augment=own.augment,
            optimizer=own.optimizer_config(),
            attack=train.PgdConfig(self.budget.norm, self.budget.epsilon, self.attack.alpha, self.attack.num_steps),
            sep_weight=self.sep_weight(method, num_pixels),
            sep=self.sep.term(self.maps),
            sep_warmup_epochs=self.sep.warmup_epochs,
            regulariser=regulariser,
            regulariser_weight=regulariser_weight,
            ema_decay=own.ema_decay,
            precision=own.precision,
            attack_batch_norm=self.attack.batch_norm,
        )

    def _objective_config(self, method: TrainingMethod) -> Any:
        """The configuration of a method's objective: from the settings of its fields' names, else objective_options."""
        objective, settings = train.objective(method.objective), self.flat()
        names = list(dict.fromkeys(training_method(name).objective for name in self.methods))
        own = own_settings(objective.config, settings, options_of_objectives(names, self.objective.options, settings))
        if method.is_plain and method.weight is not None and objective.weight is not None:
            own = dataclasses.replace(own, **{objective.weight: method.weight})
        return own

    def feature_train_config(self) -> train.TrainConfig:
        """The training configuration of the feature network; it is independent of how the models are trained."""
        standard = self.train_config(FEATURE_OBJECTIVE, num_pixels=1)
        optimizer = dataclasses.replace(standard.optimizer, learning_rate=self.features.learning_rate)
        return dataclasses.replace(
            standard, epochs=self.features.epochs, optimizer=optimizer, ema_decay=0.0, precision="float32"
        )

    def explanation_attack(self) -> evaluate.ExplanationAttackConfig:
        """The explanation attack that the settings describe."""
        return self.explanation.attack(self.maps)

    def explanation_attacks(self) -> dict[str, evaluate.ExplanationAttackConfig]:
        """strength -> the explanation attack on the same pairs; the last is the one on which the findings rest."""
        return self.explanation.attacks(self.maps)

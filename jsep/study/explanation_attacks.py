"""The contribution of each member of the explanation attack ensemble, on the trained models of a study."""

import dataclasses
import time
from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep import attack, evaluate
from jsep.checks import InputError
from jsep.study.configuration import Configuration, count, random_seed, setting
from jsep.study.runner import Run, StudyKind
from jsep.study.trained import TrainedModel, TrainedStudy, load_trained
from jsep.study.work import Task, Work, data_sizes, finished_config, model_costs

UNMOVED = 0.01
"""A pair whose explanation loss falls by less than this share counts as not moved."""


@dataclasses.dataclass(frozen=True)
class ExplanationAttacksConfig(Configuration):
    """Attacks on the models and pairs of a finished study. The help text of each field is its documentation."""

    models_dir: str = setting("runs/digits_models", "run directory of the study whose models are attacked")
    data_dir: str | None = setting(None, "TFDS data directory; default: where the study found its data")
    methods: tuple[str, ...] = setting((), "training methods of that study whose models are attacked; default: all")
    seed: int = random_seed(0, "the models' seed")
    num_pairs: int = count(0, "the first so many pairs of the study; 0: all", minimum=0)
    num_near_boundary: int = count(
        20, "victims for the second table: the test images with the smallest lead of the predicted class"
    )
    attacks: tuple[str, ...] = setting(
        ("targeted", "auto"), "attacks on explanations that are compared, of", choices=attack.EXPLANATION_ATTACKS
    )
    version: str = setting("standard", "version of the ensemble", choices=attack.AUTO_EXPLANATION_VERSIONS)
    chunk_size: int = count(20, "pairs in memory at once")

    def check(self) -> None:
        """Raises: InputError where no attack is given."""
        if not self.attacks:
            raise InputError("attacks must name one or more attacks on explanations, got none")

    def attack_configs(self, own: evaluate.ExplanationAttackConfig) -> dict[str, evaluate.ExplanationAttackConfig]:
        """name -> configuration of each attack compared: `own` for the study's attack, the default settings for
        the others. An attack that can repair a changed output is also compared with that repair."""
        found = {}
        for name in self.attacks:
            kind = attack.explanation_attack(name).config
            own_fields = dataclasses.asdict(own.own_settings) if own.attack == name else {}
            fields = {field.name for field in dataclasses.fields(kind)}
            given = {"version": self.version} if "version" in fields else {}
            settings = kind(**own_fields | given)
            found[name] = dataclasses.replace(own, attack=name, settings=settings)
            if "repair" in fields:
                repaired = dataclasses.replace(settings, repair=True)
                found[f"{name}, repair"] = dataclasses.replace(own, attack=name, settings=repaired)
        return found


class _Prepared(NamedTuple):
    study: TrainedStudy
    models: list[TrainedModel]
    pairs: evaluate.PairIndex


def _prepare(config: ExplanationAttacksConfig) -> _Prepared:
    study = load_trained(config.models_dir, data_dir=config.data_dir)
    chosen = [
        model
        for model in study.trained
        if model.seed == config.seed and (not config.methods or model.method in config.methods)
    ]
    if not chosen:
        raise InputError(f"{config.models_dir} has no model of seed {config.seed} and methods {config.methods}")
    pairs = study.pairs
    if config.num_pairs:
        pairs = _with_pairs(pairs, pairs.victims[: config.num_pairs], pairs.targets[: config.num_pairs])
    return _Prepared(study, chosen, pairs)


def measure(config: ExplanationAttacksConfig, prepared: _Prepared, run: Run) -> None:
    """Attacks every model with each attack (the study's with its own settings). Adds a row per model and attack on the
    study's pairs, per ensemble member, and per attack on victims near the decision boundary. Finished chunks of pairs
    are stored."""
    study = prepared.study
    run.result["study"] = study.config.as_dict()
    for name, empty in (("members", []), ("warnings", {})):
        run.result.setdefault(name, empty)
    attacks = config.attack_configs(study.config.explanation_attack())
    units = [(model, name) for model in prepared.models for name in attacks]
    for model, name in run.missing(units, "attack", lambda unit: f"{unit[1]} on {unit[0].name}"):
        settings = attacks[name]
        results, seconds = _run(config, study, model, prepared.pairs, settings, run, f"{model.name}_{name}")
        run.rows.append({**_row(results), "model": model.name, "attack": name, "seconds": seconds})
        run.result["members"] += _member_rows(results, model.name, settings)
        if settings.entry.warns:
            flags = attack.ExplanationWarnings(*results.warnings.T)
            run.result["warnings"][model.name] = attack.warnings_in_words(flags)
        run.save()
    title = "{0[1]} near the boundary of {0[0].name}"
    for model, name in run.missing(units, "attack near the boundary", title.format, into="near_boundary"):
        near = _near_boundary(study, model, config.num_near_boundary)
        results, _ = _run(config, study, model, near, attacks[name], run, f"{model.name}_{name}_near")
        run.result["near_boundary"].append({**_row(results), "model": model.name, "attack": name})
        run.save()


def _with_pairs(pairs: evaluate.PairIndex, victims: tuple[int, ...], targets: tuple[int, ...]) -> evaluate.PairIndex:
    return dataclasses.replace(pairs, victims=tuple(victims), targets=tuple(targets))


def _near_boundary(study: TrainedStudy, model: TrainedModel, count: int) -> evaluate.PairIndex:
    """Victims with the smallest margin between the model's top two classes; targets are the study's, reused in turn."""
    images = study.test.as_float(slice(0, len(study.test)))
    logits = jax.jit(lambda variables, images: jax.lax.map(lambda z: study.model_fn(variables, z), images))
    leads = jnp.diff(jnp.sort(logits(model.variables, images), axis=-1)[:, -2:], axis=-1)[:, 0]
    victims = np.argsort(np.asarray(leads), kind="stable")[:count]
    targets = [study.pairs.targets[place % len(study.pairs.targets)] for place in range(len(victims))]
    return _with_pairs(study.pairs, tuple(map(int, victims)), tuple(targets))


def _run(
    config: ExplanationAttacksConfig, study: TrainedStudy, model: TrainedModel, pairs: evaluate.PairIndex,
    settings: evaluate.ExplanationAttackConfig, run: Run, name: str,
) -> tuple[evaluate.PairResults, float]:  # fmt: skip
    started = time.perf_counter()
    num_chunks = -(-len(pairs.victims) // config.chunk_size)
    run.counter.begin(f"attacking {name}", num_chunks * settings.total_steps)
    results = study.attack_explanations(
        model,
        settings,
        pairs=pairs,
        key=jax.random.key(config.seed),
        chunk_size=config.chunk_size,
        store=run.directory.path / "chunks" / name.replace(", ", "_").replace(" ", "_"),
        on_step=run.counter,
    )
    return results, round(time.perf_counter() - started, 1)


def _row(results: evaluate.PairResults) -> dict[str, Any]:
    removed = 1 - results.loss_end / results.loss_start
    return {
        **results.summary(),
        "num_pairs": len(removed),
        "unmoved_pairs": int(np.sum(removed < UNMOVED)),
        "smallest_reduction": float(removed.min()),
        "softmax_change": float(results.softmax_change.mean()),
        "distance": float(results.distance.max()),
    }


def _member_rows(
    results: evaluate.PairResults, model: str, settings: evaluate.ExplanationAttackConfig
) -> list[dict[str, Any]]:
    """For each member: its mean loss alone, the mean loss of all others, and the number of pairs on which it is best.

    A member that starts from the best image of earlier members is not alone: its loss includes their progress.
    """
    losses = np.minimum(results.member_losses, results.loss_start[:, None])
    rows = []
    for index, name in enumerate(settings.entry.members(settings.own_settings)):
        others = np.delete(losses, index, axis=1).min(axis=1)
        rows.append(
            {
                "model": model,
                "member": name,
                "loss_start": float(results.loss_start.mean()),
                "loss_alone": float(losses[:, index].mean()),
                "loss_without": float(others.mean()),
                "loss_all": float(losses.min(axis=1).mean()),
                "best_on": int(np.sum(losses[:, index] < others)),
            }
        )
    return rows


def _work(config: ExplanationAttacksConfig, done: Collection[tuple[str, int]]) -> Work:
    study = finished_config(config.models_dir)
    pairs = (config.num_pairs or study.pairs.num_pairs) + config.num_near_boundary
    compared = config.attack_configs(study.explanation_attack())
    num_models = len(config.methods or study.methods)
    costs = model_costs(study, data_sizes(study))
    a_pair = sum(costs.explanation_attack(settings) for settings in compared.values())
    what = f"attack {num_models} models of {config.models_dir} on {pairs} pairs by {len(compared)} attacks"
    return Work([Task(what, num_models * pairs * a_pair)], study)


EXPLANATION_ATTACKS = StudyKind("explanation_attacks", ExplanationAttacksConfig, _prepare, measure, work=_work)
"""Attacks on explanations side by side, and the contribution of each ensemble member."""

"""What each member of the explanation ensemble adds, on the trained models of a study."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep import attack, evaluate, record, report
from jsep.checks import InputError, check_choice, check_count
from jsep.study import environment
from jsep.study.flat_config import FlatConfig, setting
from jsep.study.progress import OnProgress, StepCounter
from jsep.study.run_directory import RunDirectory
from jsep.study.trained import TrainedModel, TrainedStudy, load_trained

UNMOVED = 0.01
"""A pair that loses less than this share of its loss counts as not moved."""


@dataclasses.dataclass(frozen=True)
class AttackAblationConfig(FlatConfig):
    """A finished study, its models and pairs. The help text of each field is its documentation."""

    models_dir: str = setting("runs/digits_models", "run directory of the study whose models are attacked")
    data_dir: str | None = setting(None, "TFDS data directory; default: where the study found its data")
    methods: tuple[str, ...] = setting((), "training methods of that study whose models are attacked; default: all")
    seed: int = setting(0, "the models' seed")
    num_pairs: int = setting(0, "the first so many pairs of the study; 0: all")
    num_near_boundary: int = setting(
        20, "victims for the second table: the test images with the smallest lead of the predicted class"
    )
    attacks: tuple[str, ...] = setting(
        ("targeted", "auto"), f"attacks on explanations that are compared, of {', '.join(attack.EXPLANATION_ATTACKS)}"
    )
    version: str = setting("standard", f"version of the ensemble: {', '.join(attack.AUTO_EXPLANATION_VERSIONS)}")
    chunk_size: int = setting(20, "pairs in memory at once")

    def __post_init__(self) -> None:
        if not self.attacks:
            raise InputError("attacks must name one or more attacks on explanations, got none")
        for name in self.attacks:
            attack.explanation_attack(name)
        check_choice("version", self.version, attack.AUTO_EXPLANATION_VERSIONS)
        for name in ("num_pairs", "seed"):
            check_count(name, getattr(self, name), minimum=0)
        for name in ("num_near_boundary", "chunk_size"):
            check_count(name, getattr(self, name))

    def attack_configs(self, own: evaluate.ExplanationAttackConfig) -> dict[str, evaluate.ExplanationAttackConfig]:
        """name -> configuration of each attack that is compared: with the settings of `own`, the study's, where it is
        the study's attack, else with the defaults; one that can repair a lost output also with that."""
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


def run_attack_ablation(
    config: AttackAblationConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Attacks every model by each attack, that of the study with the study's settings, and writes result.json.

    A row a model and attack on the study's pairs, one a member of the ensemble, and one an attack on victims near the
    decision boundary. Finished chunks of pairs are kept: with `resume` an interrupted run goes on.
    Raises: InputError for bad input, before anything is written.
    """
    progress = on_progress or (lambda what, record: None)
    progress("loading the trained models", {})
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
    directory = RunDirectory(run_dir, config, resume=resume, overwrite=overwrite)
    started = time.perf_counter()
    result: dict[str, Any] = {
        "format": record.FORMAT,
        "kind": "explanation_attacks",
        "experiment": config.experiment,
        "config": config.as_dict(),
        "environment": environment.describe(),
        "study": study.config.as_dict(),
        "rows": [],
        "members": [],
        "near_boundary": [],
        "warnings": {},
    }
    counter = StepCounter(progress)
    for model in chosen:
        attacks = config.attack_configs(study.config.explanation_attack())
        for name, settings in attacks.items():
            progress(f"{name} on {model.name}", {})
            results, seconds = _run(study, model, pairs, settings, config, directory, f"{model.name}_{name}", counter)
            result["rows"].append({**_row(results), "model": model.name, "attack": name, "seconds": seconds})
            result["members"] += _member_rows(results, model.name, settings)
            if settings.entry.warns:
                flags = attack.ExplanationWarnings(*results.warnings.T)
                result["warnings"][model.name] = attack.warnings_in_words(flags)
        near = _near_boundary(study, model, config.num_near_boundary)
        for name, settings in attacks.items():
            progress(f"{name} near the boundary of {model.name}", {})
            results, _ = _run(study, model, near, settings, config, directory, f"{model.name}_{name}_near", counter)
            result["near_boundary"].append({**_row(results), "model": model.name, "attack": name})
        directory.write_result(result)
    result["environment"]["seconds"] = round(time.perf_counter() - started, 1)
    directory.write_result(result)
    report.write(directory.path)
    return result


def _with_pairs(pairs: evaluate.PairIndex, victims: tuple[int, ...], targets: tuple[int, ...]) -> evaluate.PairIndex:
    return dataclasses.replace(pairs, victims=tuple(victims), targets=tuple(targets))


def _near_boundary(study: TrainedStudy, model: TrainedModel, count: int) -> evaluate.PairIndex:
    """Victims with the smallest lead of the model's class over the next one; targets the study's, in turn."""
    images = study.test.as_float(slice(0, len(study.test)))
    logits = jax.jit(lambda variables, images: jax.lax.map(lambda z: study.model_fn(variables, z), images))
    leads = jnp.diff(jnp.sort(logits(model.variables, images), axis=-1)[:, -2:], axis=-1)[:, 0]
    victims = np.argsort(np.asarray(leads), kind="stable")[:count]
    targets = [study.pairs.targets[place % len(study.pairs.targets)] for place in range(len(victims))]
    return _with_pairs(study.pairs, tuple(map(int, victims)), tuple(targets))


def _run(
    study: TrainedStudy,
    model: TrainedModel,
    pairs: evaluate.PairIndex,
    settings: evaluate.ExplanationAttackConfig,
    config: AttackAblationConfig,
    directory: RunDirectory,
    name: str,
    counter: StepCounter,
) -> tuple[evaluate.PairResults, float]:
    started = time.perf_counter()
    num_chunks = -(-len(pairs.victims) // config.chunk_size)
    counter.begin(f"attacking {name}", num_chunks * settings.total_steps)
    results = evaluate.explanation_robustness(
        jax.random.key(config.seed),
        study.model_fn,
        model.variables,
        study.test,
        pairs,
        settings,
        chunk_size=config.chunk_size,
        store=directory.path / "chunks" / name.replace(", ", "_").replace(" ", "_"),
        on_step=counter,
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
    """For each member: the mean loss that it reaches alone, that all others reach, and on how many pairs it is best.

    A member that goes on from the others' best image is not alone: it stands on those before it.
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

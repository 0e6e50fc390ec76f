"""A study: models of every method and seed, trained, tested and attacked on the same pairs. The paper's Table 2."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from jax.sharding import Mesh

from jsep import data, devices, evaluate, models
from jsep.study.config import StudyConfig
from jsep.study.methods import mark_degraded
from jsep.study.programs import study_programs
from jsep.study.run_directory import MetricsLog
from jsep.study.runner import Run, StudyKind
from jsep.study.setup import Purpose, Splits, create_model, key_of, load_splits
from jsep.study.train_model import Training, fit, maps_of, train_and_evaluate
from jsep.study.trained import load_start
from jsep.study.work import Task, Work, study_tasks
from jsep.types import PyTree


class Prepared(NamedTuple):
    """The inputs of a study: its images, its network, and the initial variables of each seed."""

    splits: Splits
    model: models.Classifier
    start: dict[int, PyTree]


def prepare(config: StudyConfig) -> Prepared:
    """Loads the inputs that the configuration names. Raises: InputError where they are incompatible."""
    splits = devices.first_then_others(lambda: load_splits(config.data))
    model = create_model(config.model, splits.train.info)
    start = load_start(config, model)
    config.feature_train_config().steps_per_epoch(len(splits.train))
    return Prepared(splits, model, start)


def measure(config: StudyConfig, prepared: Prepared, run: Run) -> None:
    """Adds a row per method and seed."""
    log = MetricsLog(run.directory)
    training = Training(config, *prepared, run, log)
    try:
        pairs = _pairs(training)
        run.result["pairs"] = pairs.as_dict()
        units = [(method, seed) for seed in config.seeds for method in config.methods]
        _complete_maps(training, pairs)
        for method, seed in run.missing(units, "model", lambda unit: f"{unit[0]}, seed {unit[1]}"):
            row, maps = train_and_evaluate(training, pairs, method, seed)
            if seed == config.seed:
                run.directory.add_maps(maps)
            run.rows.append(row)
            mark_degraded(run.rows)
            run.save()
    finally:
        log.close()


def repeat(run: Run, studies: Mapping[str, StudyConfig]) -> dict[str, dict[str, Any]]:
    """Runs or resumes studies in the subdirectories of their names, all on the pairs of the first; their results."""
    pairs_file = str(run.directory.path / next(iter(studies)) / "pairs.json")
    found: dict[str, dict[str, Any]] = {}
    for name, config in studies.items():
        run.announce(len(found), len(studies), "study", f"study {name}")
        found[name] = run.part(STUDY, config.replace(pairs_file=pairs_file) if found else config, name)
    return found


def tasks_of_repeats(studies: Mapping[str, StudyConfig], done: Collection[tuple[str, int]] = ()) -> list[Task]:
    """The work of `repeat`."""
    tasks: list[Task] = []
    for name, config in studies.items():
        own = study_tasks(config.replace(pairs_file="of the first") if tasks else config, done)
        tasks += [Task(f"{name}: {task.what}", task.flops) for task in own]
    return tasks


def _complete_maps(training: Training, pairs: evaluate.PairIndex) -> None:
    """Attacks the explanations of finished models again where maps.npz was lost."""
    run = training.run
    kept = run.directory.read_arrays("maps.npz") if run.rows and devices.is_first() else {}
    lost = [row["method"] for row in run.rows if row["seed"] == training.config.seed]
    lost = devices.call_on_first_process(lambda: [name for name in lost if f"{name}/manipulated" not in kept])
    for method in lost:
        run.progress(f"attacking the explanations of {method} again", {})
        run.directory.add_maps(maps_of(training, pairs, method, training.config.seed))


def _pairs(training: Training) -> evaluate.PairIndex:
    """The stored pair index, else the given one, else a new one from clusters of a trained network's features."""
    config, splits, run = training.config, training.splits, training.run
    own_path = run.directory.pairs_path

    def stored() -> dict[str, Any] | None:
        path = own_path if own_path.exists() else config.pairs.file
        return evaluate.load_pairs(path).as_dict() if path else None

    found = devices.call_on_first_process(stored)
    if found is None:
        network = create_model(config.model, splits.train.info, config.features.model)
        key = key_of(config.seed, Purpose.FEATURES)
        state, _ = fit(key, training, network, config.feature_train_config(), ("features", config.seed))
        run.progress("selecting pairs", {})
        variables = state.variables if run.mesh is None else devices.to_host(state.variables, run.mesh)
        # In process 0 only: clusters may depend on the last digit of a feature, which differs between machines.
        found = devices.call_on_first_process(lambda: _select_pairs(config, network, variables, splits.test).as_dict())
    pairs = evaluate.pairs_from_dict(found)
    pairs.check_fits(splits.test)
    if devices.is_first() and not own_path.exists():
        evaluate.save_pairs(own_path, pairs)
    return pairs


def _select_pairs(
    config: StudyConfig, network: models.Classifier, variables: PyTree, test: data.Dataset
) -> evaluate.PairIndex:
    return evaluate.select_pairs(
        evaluate.features(models.features_fn(network), variables, test, chunk_size=config.chunk_size),
        test,
        num_clusters=config.pairs.num_clusters,
        num_pairs=config.pairs.num_pairs,
        feature_network=f"{config.features.model}, standard training, {config.features.epochs} epochs",
        seed=config.seed,
    )


def _check_mesh(config: StudyConfig, mesh: Mesh | None) -> None:
    devices.check_batch_size(config.training.batch_size, mesh)


def _work(config: StudyConfig, done: Collection[tuple[str, int]]) -> Work:
    return Work(study_tasks(config, done), config)


STUDY = StudyKind(
    "study",
    StudyConfig,
    prepare,
    measure,
    check_mesh=_check_mesh,
    work=_work,
    programs=study_programs,
)
"""Methods x seeds on one data set."""

"""The tables of `benchmarks/README.md` and `docs/performance.md`, from the result files alone.

python benchmarks/render.py            # writes both
python benchmarks/render.py --check    # exit code 1 where one is out of date
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from prediction import predict_run

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = {"README": ROOT / "benchmarks" / "README.md", "performance": ROOT / "docs" / "performance.md"}

Results = dict[str, dict[str, Any]]
"""name -> record, of one kind of device."""


class Goal(NamedTuple):
    """Times faster than a peer that ours shall be at least; None: no goal."""

    result: str
    work: str
    peer: str
    cpu: float | None
    gpu: float | None


GOALS = (
    Goal("mat_step_convnet", "MAT step, ConvNet", "torch eager", 1.0, 3.0),
    Goal("mat_step_convnet", "MAT step, ConvNet", "torch.compile", 1.0, 1.5),
    Goal("mat_step_resnet18", "MAT step, ResNet-18", "torch eager", 1.0, 3.0),
    Goal("mat_step_resnet18", "MAT step, ResNet-18", "torch.compile", 1.0, 1.5),
    Goal("sep_step_convnet", "MAT + SEP step, ConvNet", "torch eager", 1.0, 3.0),
    Goal("sep_step_convnet", "MAT + SEP step, ConvNet", "torch.compile", 1.0, 1.5),
    Goal("sep_step_resnet18", "MAT + SEP step, ResNet-18", "torch eager", 1.0, 3.0),
    Goal("sep_step_resnet18", "MAT + SEP step, ResNet-18", "torch.compile", 1.0, 1.5),
    Goal("explanation_attack", "explanation attack", "torch, one image at a time", 5.0, 50.0),
    Goal("explanation_attack", "explanation attack", "torch, in batches", 1.0, 1.5),
    Goal("integrated_gradients", "integrated gradients, 32 steps", "captum", 1.0, 2.0),
    Goal("smooth_grad", "SmoothGrad, 50 samples", "captum", 1.0, 2.0),
    Goal("occlusion", "occlusion", "captum", 1.0, 2.0),
    Goal("pgd", "PGD-20", "foolbox on JAX", 2.0, 2.0),
    Goal("pgd", "PGD-20", "foolbox on JAX, library's convolutions", None, None),
    Goal("pgd", "PGD-20", "foolbox on PyTorch", None, None),
    Goal("pgd", "PGD-20", "torchattacks", 1.0, 2.0),
    Goal("apgd", "APGD-100", "torchattacks", 1.0, 2.0),
    Goal("input_hessian", "20 Lanczos steps of the input Hessian", "torch, triple backward", 1.0, 2.0),
)
"""Of the machines: two processor cores, and one GPU of the H200 class."""

LIMITS = (
    ("first line of progress of `make demo`, warm cache", ("seconds_to_first_line",), 10.0, "s"),
    ("first training record of `make demo`, warm cache", ("seconds_to_first_record",), None, "s"),
    ("`import jsep`", ("times_as_long_as_import_jax", "import jsep"), 1.5, "x `import jax`"),
    (
        "`import jsep` and its parts",
        ("times_as_long_as_import_jax", "import jsep and its parts"),
        None,
        "x `import jax`",
    ),
)
"""What start-up may take at most."""

NOT_MEASURED = "not measured"
MANY_OTHERS = 0.1
"""The share of the processor's time above which a ratio is marked as measured beside other programs."""


def load(folder: pathlib.Path, kind: str) -> Results:
    """The records of one kind of device, by name."""
    return {path.name.split(".")[0]: json.loads(path.read_text()) for path in sorted(folder.glob(f"*.{kind}.json"))}


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def number(value: float | None, digits: int = 3) -> str:
    """With significant digits and without an exponent where that is readable."""
    if value is None:
        return "-"
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if "e+" in text else text


def _ratio(results: Results, goal: Goal) -> float | None:
    return results.get(goal.result, {}).get("times_faster", {}).get(goal.peer)


def _verdict(measured: float | None, goal: float | None) -> str:
    if measured is None or goal is None:
        return "-"
    return "reached" if measured >= goal else f"below: {100 * measured / goal:.0f} % of it"


def _quiet(results: Results, goal: Goal) -> str:
    """What is to be said about a ratio that was measured beside other programs."""
    contenders = results.get(goal.result, {}).get("contenders", {})
    shares = [contenders[who]["share_of_others"] for who in ("jsep", goal.peer) if who in contenders]
    return f" (others had {100 * max(shares):.0f} %)" if max(shares, default=0.0) > MANY_OTHERS else ""


def _shown(measured: float | None) -> str:
    return NOT_MEASURED if measured is None else f"{number(measured)}x"


def goals_table(cpu: Results, gpu: Results) -> str:
    """Goal, ratio and verdict beside each other."""
    rows = []
    for goal in GOALS:
        row = [goal.work, goal.peer]
        for results, wanted in ((cpu, goal.cpu), (gpu, goal.gpu)):
            measured = _ratio(results, goal)
            row += [
                "-" if wanted is None else f">= {wanted:g}x",
                _shown(measured),
                _verdict(measured, wanted) + _quiet(results, goal),
            ]
        rows.append(row)
    columns = ["goal, {}", "measured, {}", "verdict, {}"]
    header = [column.format(kind) for kind in ("2 cores", "one GPU") for column in columns]
    return table(["work", "beside", *header], rows)


def count_verdicts(cpu: Results) -> str:
    """How many goals of the processor are reached, in a sentence."""
    verdicts = [_verdict(_ratio(cpu, goal), goal.cpu) for goal in GOALS if goal.cpu is not None]
    measured = [verdict for verdict in verdicts if verdict != "-"]
    reached = sum(verdict == "reached" for verdict in measured)
    beside = sum(bool(_quiet(cpu, goal)) for goal in GOALS if goal.cpu is not None)
    rough = f"; {beside} of them were measured beside other programs and are rough" if beside else ""
    below = len(measured) - reached
    return (
        f"{reached} of {len(verdicts)} ratios on two cores reach their goal, "
        f"{below} {'is' if below == 1 else 'are'} below it{rough}."
    )


def start_up_table(cpu: Results) -> str:
    """What start-up takes and may take."""
    rows = []
    for name, path, limit, unit in LIMITS:
        value: Any = cpu.get("start_up", {})
        for key in path:
            value = value.get(key, {}) if isinstance(value, dict) else value
        measured = value if isinstance(value, float | int) else None
        verdict = "-" if measured is None or limit is None else "reached" if measured <= limit else "above"
        shown = NOT_MEASURED if measured is None else f"{number(measured)} {unit}"
        rows.append([name, "-" if limit is None else f"<= {limit:g} {unit}", shown, verdict])
    return table(["", "goal", "measured", "verdict"], rows)


def details_table(results: Results) -> str:
    """Seconds, memory and share of the limit of every contender."""
    rows = []
    for record in results.values():
        if "times_faster" not in record:
            continue
        for name, contender in record["contenders"].items():
            ours = name == "jsep"
            rows.append(
                [
                    record["work"] if ours else "",
                    name,
                    f"{number(contender['median_seconds'])} ({100 * contender['spread']:.0f} %)",
                    str(len(contender["all_seconds"])),
                    f"{100 * contender['share_of_others']:.0f} %",
                    number(contender["first_call_seconds"]),
                    number(contender["peak_memory_mib"]),
                    number(record["flops"] / contender["median_seconds"] / 1e9),
                    f"{100 * record['flops'] / contender['median_seconds'] / record['ceiling_flops_per_second']:.0f} %",
                ]
            )
    return table(
        [
            "work",
            "who",
            "median seconds (spread)",
            "rounds",
            "others' share",
            "first call, s",
            "peak memory, MiB",
            "GFLOP/s",
            "of the matrix product",
        ],
        rows,
    )


def agreement_table(results: Results) -> str:
    """What shows that the contenders did the same work."""
    rows = []
    for record in results.values():
        if "times_faster" in record:
            rows += [[record["work"], name, number(value, 4)] for name, value in record["agreement"].items()]
    return table(["work", "what", "value"], rows)


def layers_table(results: Results) -> str:
    """The profile of the layers."""
    record = results.get("layers")
    if record is None:
        return f"{NOT_MEASURED}\n"
    rows = []
    for name, layer in record["layers"].items():
        row = [name]
        for what in ("forward", "input gradient", "weight gradient"):
            pair = layer.get(what)
            row.append("-" if pair is None else f"{number(pair['jsep'])} / {number(pair['torch'])}")
        rows.append(row)
    header = [f"layer, batch {record['batch']}", "forward", "input gradient", "weight gradient"]
    return f"{table(header, rows)}\nOther programs had {100 * record['share_of_others']:.0f} % of the processor.\n"


def scaling_table(results: Results) -> str:
    """The growth along each axis."""
    if "scaling" not in results:
        return f"{NOT_MEASURED}\n"
    rows = []
    for name, series in results["scaling"]["series"].items():
        rows.append(
            [
                name.replace("_", " "),
                series["work"],
                ", ".join(map(str, series["values"])),
                ", ".join(number(value) for value in series["seconds"]),
                f"{series['seconds_exponent']:g}",
                ", ".join(number(value) for value in series["memory_mib"]),
                f"{series['memory_mib_exponent']:g}",
                ", ".join(number(value) for value in series["compile_seconds"]),
            ]
        )
    header = ["grows", "work", "values", "seconds", "exponent", "memory, MiB", "exponent", "compile, s"]
    return table(header, rows)


def devices_table(results: Results) -> str:
    """The overhead of simulated devices."""
    record = results.get("simulated_devices")
    if record is None:
        return f"{NOT_MEASURED}\n"
    rows = []
    for name, overhead in record["overhead"].items():
        goal, verdict = "<= 10 %", "reached" if overhead <= 0.1 else "above"
        if not name.isdigit():  # one processor's own way
            goal = verdict = "-"
        best = record["overhead_at_best"][name]
        rows.append([name, goal, f"{100 * overhead:.1f} %", f"{100 * best:.1f} %", verdict])
    return table(["devices", "goal", "overhead of the medians", "of the fastest steps", "verdict"], rows)


def costs_table(results: Results) -> str:
    """Times without a peer."""
    record = results.get("landscape_cost")
    if record is None:
        return f"{NOT_MEASURED}\n"
    rows = [[name, record["work"], number(seconds)] for name, seconds in record["seconds_per_image"].items()]
    return table(["landscape", "work", "seconds an image"], rows)


def provenance_lines(results: Results) -> str:
    """Where every result comes from."""
    rows = []
    for name, record in results.items():
        where = record["provenance"]
        machine = f"{where['num_cpus']} cores, {where['processor']}" if where["device"] == "cpu" else where["device"]
        versions = f"jax {where['jax']}, torch {where['torch']}, Python {where['python']}"
        load = f"load {where['load_average']:g}"
        rows.append([f"`{name}`", where["date"], where["commit"], machine, f"{where['beside']}; {load}", versions])
    return table(["result", "date", "commit", "machine", "beside it", "versions"], rows)


def readme(cpu: Results, gpu: Results) -> str:
    """The text of `benchmarks/README.md`."""
    parts = [
        "# Benchmarks",
        "Generated by `benchmarks/render.py` from `benchmarks/results/`; `make bench` measures all of it again, in "
        "about 60 minutes on two cores (fewer rounds with `make bench MINUTES=30`). The same scripts run on a GPU.",
        "Ours and the peer do the same work in one process, with the same weights, batch and precision, in turns; a "
        "ratio is theirs over ours, of medians after three calls that do not count (up to five while they still get "
        "faster). Peers are written as their users would: no gradients where none are needed, the faster order of "
        "channels in memory, the same chunks.",
        "## Goals",
        f"{count_verdicts(cpu)} Where other programs had more than {100 * MANY_OTHERS:.0f} % of the processor during "
        "the calls, the verdict says so: such a ratio may be wrong by a factor in either direction, since a library "
        "whose threads wait for each other loses more.",
        goals_table(cpu, gpu),
        start_up_table(cpu),
        "## Times, memory, operations",
        "Operations are counted on the traced program of ours, a convolution's by its definition, and stand for all "
        "contenders: one that needs fewer multiplications may pass 100 %. Peak memory is what a call "
        "took beyond what was there before it. The last column is the share of the fastest product of two square "
        "matrices in the same process. The spread is (slowest - fastest) / median, others' share the "
        "processor time that other programs had during the calls; a call with more than 5 % is made again, at most "
        "twice.",
        details_table(cpu) if cpu else f"{NOT_MEASURED}\n",
        "## Where the time goes",
        "Milliseconds of one layer alone, ours / PyTorch's.",
        layers_table(cpu),
        "## The same work",
        "What each contender computed: equal losses, equal maps, equal eigenvalues where nothing random is drawn.",
        agreement_table(cpu),
        "## Scaling",
        "The exponent is b in value^b: 1 grows along, 0 is flat. Memory is XLA's plan for intermediate values.",
        scaling_table(cpu),
        "Eight simulated devices share two cores, so that a step takes as long as on one device with the whole batch "
        "where sharing out is free. A single processor by itself works in parts that stay in its caches:",
        devices_table(cpu),
        costs_table(cpu),
        "## Where it was measured",
        provenance_lines({**cpu, **{f"{name} (GPU)": record for name, record in gpu.items()}}),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


class Run(NamedTuple):
    """A training run to be predicted: ResNet-18, 25 epochs."""

    name: str
    shape: str
    num_images: int
    batch_size: int
    epochs: int = 25


RUNS = (
    Run("CIFAR-10", "32x32, 10 classes", 50_000, 128),
    Run("Tiny ImageNet", "64x64, 200 classes", 100_000, 128),
    Run("ImageNet", "224x224, 1000 classes", 1_281_167, 256),
)

# Not measured here: the matrix product in bfloat16 of an H200, and the share of it that is the goal.
GPU_CEILING, GPU_SHARE = 790e12, 0.4


def predictions(cpu: Results, gpu: Results) -> Iterator[list[str]]:
    """The rows of the table of runs."""
    counted = cpu["step_costs"]
    for run in RUNS:
        operations = counted["operations"][run.shape]
        pixels = (operations["side"] / counted["memory"]["mat"]["side"]) ** 2
        for kind, label in (("mat", "MAT"), ("mat_sep", "MAT + SEP")):
            step = f"{'sep' if kind == 'mat_sep' else 'mat'}_step_resnet18"
            memory = counted["memory"][kind]
            machines = [("two cores", cpu.get(step, {}).get("flops_per_second"), 1)]
            on_gpu = gpu.get(step, {}).get("flops_per_second")
            machines += [("GPU", on_gpu or GPU_CEILING * GPU_SHARE, n) for n in (1, 8)]
            row = [run.name, label, number(operations[kind] / 1e9)]
            for _, rate, num_devices in machines:
                if rate is None:
                    row.append(NOT_MEASURED)
                    continue
                predicted = predict_run(
                    flops_per_image=operations[kind],
                    num_images=run.num_images,
                    epochs=run.epochs,
                    flops_per_second=rate,
                    num_devices=num_devices,
                    batch_size=run.batch_size,
                    bytes_per_image=memory["bytes_per_image"] * pixels,
                    # Nearly all of it is the 32 images that are worked on at a time, not parameters.
                    bytes_per_step=memory["bytes_per_step"] * pixels,
                    parameter_bytes=operations["parameter_bytes"],
                    overhead=0.1 if num_devices > 1 else 0.0,
                )
                row.append(f"{number(predicted.hours)} h, {number(predicted.gib_per_device, 2)} GiB")
            yield row


def performance(cpu: Results, gpu: Results) -> str:
    """The text of `docs/performance.md`."""
    parts = [
        "# Performance",
        "Generated by `benchmarks/render.py` from the committed results. [The tables](../benchmarks/README.md) hold "
        "every benchmark with its goal, memory and machine.",
        "## Beside other libraries",
        count_verdicts(cpu),
        goals_table(cpu, gpu),
        "## What a run will cost",
        "A step of adversarial training with S attack steps needs S input gradients, one training gradient and, with "
        "SEP, the gradient of its term:",
        "    hours = epochs * images * operations per image / (devices * operations per second) / 3600",
        "`benchmarks/prediction.py` holds the formula, with memory, as a function. Operations per image are counted on "
        "the traced program, where products with the zeros around an image do not count: of a ResNet-18's on 32x32 "
        "pixels they are 13 %, so that the usual count is higher (25.5 GFLOP an image for MAT, 43.3 with SEP). On two "
        "cores, operations per second are those measured for the same kind of step.",
    ]
    if "mat_step_resnet18" in gpu:
        parts.append("On a GPU they are measured too.")
    else:
        parts.append(
            f"On a GPU nothing was measured: the rows stand for {100 * GPU_SHARE:.0f} % of {GPU_CEILING / 1e12:.0f} "
            "TFLOP/s, the goal in bfloat16 for one H200. Memory is that of a float32 step as planned for a processor, "
            "grown with the number of pixels, and 10 % are added for sharing a batch out over eight."
        )
    if "step_costs" in cpu:
        header = ["run, 25 epochs, ResNet-18", "step", "GFLOP an image", "two cores", "one GPU", "eight GPUs"]
        parts.append(table(header, list(predictions(cpu, gpu))))
    parts += [
        "Memory is that of a whole batch with the library's convolutions; a processor works on it in parts and takes "
        "less (a MAT + SEP step of a ResNet-18 on 128 CIFAR-10 images about a third). "
        "Memory does not depend on the number of attack steps, nor on the number of epochs or images: the batch is "
        "what it grows with. Where a batch does not fit, `--num_devices` cuts it ([devices](training.md)).",
        "## How it grows",
        "The exponent is b in value^b: 1 grows along, 0 is flat.",
        scaling_table(cpu),
        "Sharing a batch out over simulated devices of one processor, held against one device with the whole batch; "
        "by itself a processor works on it in parts:",
        devices_table(cpu),
        "## What the scripts do by themselves",
        "- Compiled programs are kept in `~/.cache/jsep` between runs (`--compilation_cache`).\n"
        "- An epoch is one compiled loop: images, order, augmentation and attack stay on the device, and the host "
        "hears of it once every `log_every` steps.\n"
        "- A step writes over the state it was given, so that the parameters are in memory once.\n"
        "- On a processor, convolutions run on all cores, and the rest in the widest vectors: the scripts call "
        "`jsep.devices.use_all_cores()`, as your own program may, before JAX computes anything.\n"
        "- Parts of the library are loaded when they are first used.",
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def rendered() -> dict[pathlib.Path, str]:
    """The pages as the results say."""
    cpu, gpu = (load(RESULTS, kind) for kind in ("cpu", "gpu"))
    return {PAGES["README"]: readme(cpu, gpu), PAGES["performance"]: performance(cpu, gpu)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    settings = parser.parse_args()
    stale = []
    for path, text in rendered().items():
        if not path.exists() or path.read_text() != text:
            stale.append(str(path.relative_to(ROOT)))
            if not settings.check:
                path.write_text(text)
    if settings.check and stale:
        sys.exit(f"out of date: {', '.join(stale)}; run: python benchmarks/render.py")


if __name__ == "__main__":
    main()

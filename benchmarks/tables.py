"""The tables of the benchmarks, from the result files alone: goals, times, layers, scaling, provenance."""

import json
import pathlib
from typing import Any, NamedTuple

from jsep.report.formatting import minus

Results = dict[str, dict[str, Any]]
"""name -> record, for one kind of device."""


class Goal(NamedTuple):
    """The minimum speed-up of jsep over a peer; None: no goal."""

    result: str
    work: str
    peer: str
    cpu: float | None
    gpu: float | None


OWN_CONVOLUTIONS = "the network's own convolutions"

GOALS = (
    Goal("mat_step_convnet", "MAT step, ConvNet", "torch eager", 1.0, 3.0),
    Goal("mat_step_convnet", "MAT step, ConvNet", "torch.compile", 1.5, 1.5),
    Goal("mat_step_resnet18", "MAT step, ResNet-18", "torch eager", 1.0, 3.0),
    Goal("mat_step_resnet18", "MAT step, ResNet-18", "torch.compile", 1.2, 1.5),
    Goal("sep_step_convnet", "MAT + SEP step, ConvNet", "torch eager", 1.0, 3.0),
    Goal("sep_step_convnet", "MAT + SEP step, ConvNet", "torch.compile", 1.5, 1.5),
    Goal("sep_step_resnet18", "MAT + SEP step, ResNet-18", "torch eager", 1.0, 3.0),
    Goal("sep_step_resnet18", "MAT + SEP step, ResNet-18", "torch.compile", 1.3, 1.5),
    Goal("explanation_attack", "explanation attack", "torch, one image at a time", 5.0, 50.0),
    Goal("explanation_attack", "explanation attack", "torch, in batches", 2.5, 1.5),
    Goal("large_images", "explanation attack, 224x224, ResNet-50", "torch, the published loop", None, None),
    Goal("integrated_gradients", "integrated gradients, 32 steps", "captum", 2.0, 2.0),
    Goal("smooth_grad", "SmoothGrad, 50 samples", "captum", 1.5, 2.0),
    Goal("occlusion", "occlusion", "captum", 1.5, 2.0),
    Goal("pgd", "PGD-20", "foolbox on JAX", 2.0, 2.0),
    Goal("pgd", "PGD-20", "foolbox on JAX, library's convolutions", None, None),
    Goal("pgd", "PGD-20", "foolbox on PyTorch", None, None),
    Goal("pgd", "PGD-20", "torchattacks", 1.4, 2.0),
    Goal("apgd", "APGD-100", "torchattacks", 1.4, 2.0),
    *(
        Goal(
            f"own_{task}_channels_{place}",
            f"{work}, one's own network, channels {place}",
            OWN_CONVOLUTIONS,
            None,
            None,
        )
        for task, work in (("pgd", "PGD-5"), ("training", "5 training steps"))
        for place in ("last", "first")
    ),
    Goal("input_hessian", "20 Lanczos steps of the input Hessian", "torch, triple backward", 1.0, 2.0),
)
"""The machines: two CPU cores, and one GPU of the H200 class."""

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
"""The time limits of start-up."""

NOT_MEASURED = "not measured"
MANY_OTHERS = 0.1
"""The share of CPU time of other programs above which a ratio is marked as disturbed."""


def load(folder: pathlib.Path, kind: str) -> Results:
    """The records of one kind of device, by name."""
    return {path.name.split(".")[0]: json.loads(path.read_text()) for path in sorted(folder.glob(f"*.{kind}.json"))}


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {minus(' | '.join(line))} |" for line in lines) + "\n"


def number(value: float | None, digits: int = 3) -> str:
    """A number to `digits` significant digits, without an exponent where that is readable."""
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
    """The remark on a ratio that was measured while other programs ran."""
    contenders = results.get(goal.result, {}).get("contenders", {})
    shares = [contenders[who]["share_of_others"] for who in ("jsep", goal.peer) if who in contenders]
    return f" (others had {100 * max(shares):.0f} %)" if max(shares, default=0.0) > MANY_OTHERS else ""


def _shown(measured: float | None) -> str:
    return NOT_MEASURED if measured is None else f"{number(measured)}x"


def goals_table(cpu: Results, gpu: Results) -> str:
    """The goal, ratio and verdict of every comparison."""
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
    """A sentence with the number of CPU goals that are reached."""
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
    """The measured start-up times and their limits."""
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
    """The numbers which show that the contenders did the same work."""
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
        verdict = "reached" if overhead <= 0.1 else "above"
        best = record["overhead_at_best"][name]
        rows.append([name, "<= 10 %", f"{100 * overhead:.1f} %", f"{100 * best:.1f} %", verdict])
    shown = table(["devices", "goal", "overhead of the medians", "of the fastest steps", "verdict"], rows)
    change = minus(f"{100 * record['in_parts']:+.1f} %")
    return f"{shown}\nWithout a mesh a processor works on the batch in parts that stay in its caches: {change}.\n"


def costs_table(results: Results) -> str:
    """Times of work without a comparison."""
    record = results.get("landscape_cost")
    if record is None:
        return f"{NOT_MEASURED}\n"
    rows = [[name, record["work"], number(seconds)] for name, seconds in record["seconds_per_image"].items()]
    return table(["landscape", "work", "seconds an image"], rows)


def provenance_lines(results: Results) -> str:
    """The provenance of every result."""
    rows = []
    for name, record in results.items():
        where = record["provenance"]
        machine = f"{where['num_cpus']} cores, {where['processor']}" if where["device"] == "cpu" else where["device"]
        versions = f"jax {where['jax']}, torch {where['torch']}, Python {where['python']}"
        load = f"load {where['load_average']:g}"
        rows.append([f"`{name}`", where["date"], where["commit"], machine, f"{where['beside']}; {load}", versions])
    return table(["result", "date", "commit", "machine", "beside it", "versions"], rows)


def targets_table(found: dict[str, Any]) -> str:
    """The full recipes on devices that they were compiled for; found: of accelerators.json."""
    rows = []
    for recipe, targets in found.items():
        for name, entry in targets.items():
            if "error" in entry:
                rows.append([recipe, name, entry["error"], "-", "-", "-"])
                continue
            largest, has = max(entry["parts"], key=lambda part: part["bytes"]), entry["target"]
            short = [
                f"`--{part['setting']}={max(part['fits'], 1)}`"
                for part in entry["parts"]
                if part["fits"] < part["count"]
            ]
            memory = f"{number(largest['bytes'] / 2**30)} of {number(has['memory'] / 2**30)} ({largest['what']})"
            hours = number(entry["flops"] / has["flops"] / 3600 if has["flops"] else None, 2)
            rows.append([recipe, name, memory, " ".join(short) or "as it is", f"{entry['flops']:.2g}", hours])
    return table(["full recipe", "device", "memory, GiB", "fits", "operations", "hours at its peak"], rows)


def large_images_table(cpu: Results) -> str:
    """The explanations of one large image, from the record of large_images."""
    rows = []
    for method, own in cpu["large_images"]["explanations"].items():
        if "error" in own:
            rows.append([method, own["error"], "-", "-", "-"])
        else:
            first, seconds, memory = (own[name] for name in ("first_call_seconds", "seconds", "peak_memory_mib"))
            rows.append([method, own["options"] or "defaults", number(first), number(seconds), number(memory)])
    return table(["method", "options", "first call, s", "next calls, s", "memory, MiB"], rows)

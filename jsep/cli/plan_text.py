"""The text that --dry_run prints."""

from collections.abc import Collection

from jsep import study


def duration(seconds: float) -> str:
    """A duration as text, such as "about 40 s", "about 12 min", "about 3.5 h"."""
    if seconds < 90:
        return f"about {max(seconds, 1):.0f} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"


def plan_text(config: study.Configuration, where: str, done: Collection[tuple[str, int]] = ()) -> str:
    """The plan of a run as text."""
    plan = study.plan(config, done=done)
    total = sum(task.flops for task in plan.tasks)
    lines = [f"Plan of {config.experiment}:"]
    for number, task in enumerate(plan.tasks, 1):
        known = plan.seconds is not None and task.flops > 0
        time = f" ({duration(plan.seconds * task.flops / total)})" if known and plan.seconds is not None else ""
        lines.append(f"  {number}. {task.what}{time}")
    if done:
        lines.append(f"  {len(done)} model(s) of {where} are done already and not counted.")
    if plan.seconds is None:
        lines.append("Time and memory: not estimated.")
    else:
        lines.append(f"Time: {duration(plan.seconds)} on this machine as busy as it is now. An estimate: {plan.basis}.")
    if plan.memory_bytes is not None:
        lines.append(
            f"Memory: {plan.memory_bytes / 2**30:.2g} GiB for arrays in training, by the compiler's own assignment."
        )
    lines.append(f"Nothing was written. Without --dry_run the results go to {where}")
    return "\n".join(lines)


_TELLING = 0.05
"""The share of a target's memory above which the need of more images is extrapolated."""


def target_text(plan: study.TargetPlan) -> str:
    """What a run needs on a target, as text."""
    target = plan.target
    if target.platform == "cpu":
        lines = ["Target cpu: this machine's compiler; what fits is for you to compare with its memory."]
    else:
        lines = [
            f"Target {target.name}, one device: {target.memory / 2**30:.3g} GiB, {target.flops / 1e12:.3g} TFLOP/s "
            f"({target.precision}), {target.bandwidth / 1e9:.4g} GB/s. Compiled for it, not run."
        ]
    short = []
    for part in plan.parts:
        line = f"  {part.what}, {part.count} at once: {part.memory.total / 2**30:.3g} GiB, {part.flops / 1e9:.3g} GFLOP"
        if target.flops:
            line += f", at least {1e3 * part.flops / target.flops:.2g} ms"
            # Where little is used, part of it lies in memory on the chip, and more images would need more of the other.
            line += f"; about {part.fits} fit" if part.memory.total > _TELLING * target.memory else "; fits with room"
            if part.fits < part.count:
                short.append(f"--{part.setting}={max(part.fits, 1)}")
        lines.append(line)
    if target.flops:
        least = duration(plan.flops / target.flops).removeprefix("about ")
        lines.append(
            f"The whole run: {plan.flops:.3g} operations, at least {least} at the device's peak, which no run reaches."
        )
        lines.append(f"It does not fit: use {' '.join(dict.fromkeys(short))}." if short else "It fits.")
    lines.append("Memory is the compiler's assignment, without the workspace of libraries. Nothing was run.")
    return "\n".join(lines)

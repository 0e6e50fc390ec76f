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

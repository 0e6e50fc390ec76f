"""A sweep of four short commands on a Ray cluster, in a process of its own: python ray_sweep.py ADDRESS DIRECTORY."""

import pathlib
import sys
import time

from jsep import study
from jsep.study import sweep_ray


def main() -> None:
    address, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    names = ("a", "b", "c", "d")
    runs = [study.PlannedRun(name, directory / name, ()) for name in names]
    # "d" fails by itself, which is no reason to start it again.
    command = "echo started; sleep 6; touch {directory}/{name}.done; test {name} != d"
    commands = {name: ["sh", "-c", command.format(directory=directory, name=name)] for name in names}
    ray = sweep_ray.connect(address)
    while sum(node["Alive"] for node in ray.nodes()) < 2:
        time.sleep(0.1)
    engine = sweep_ray.run_ray(ray, environment={"NPROC": "1"})
    for state in study.run_sweep(runs, commands, directory, engine):
        print(state.name, state.status)


if __name__ == "__main__":
    main()

"""Many runs of one script with one command: in parallel, resumable, skipping finished runs.

python experiments/sweep.py --spec=experiments/sweeps/sep_weight_digits.json --run_dir=runs/sep_weight_digits --dry_run
To continue a sweep, start it again. A failed run stops no other; failures are listed and give exit code 1.
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("sweep")

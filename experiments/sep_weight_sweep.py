"""How does robustness change with the SEP weight, until training fails? Reads runs of a sweep, trains nothing.

python experiments/sep_weight_sweep.py --flagfile=experiments/flags/sep_weight_sweep_digits.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("sep_weight_sweep")

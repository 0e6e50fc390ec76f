"""Are classification and explanation robustness correlated over many models? Reads runs of a sweep, trains nothing.

python experiments/correlation.py --flagfile=experiments/flags/correlation_digits.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("correlation")

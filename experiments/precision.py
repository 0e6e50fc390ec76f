"""The same study with training steps in float32 and in bfloat16: which reported numbers change, and by how much?

python experiments/precision.py --flagfile=experiments/flags/precision_digits.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("precision")

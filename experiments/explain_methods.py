"""Every explanation method on the same images: maps, and the sanity check with randomised weights.

python experiments/explain_methods.py --flagfile=experiments/flags/explain_methods_quick.flags --data_dir=DIR
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("explain_methods")

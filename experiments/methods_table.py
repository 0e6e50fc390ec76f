"""SEP with Gradient, Gradient x Input or Guided Backprop in its term, each tested with all three: Table 3.

python experiments/methods_table.py --flagfile=experiments/flags/methods_table_quick.flags --data_dir=DIR
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("methods_table")

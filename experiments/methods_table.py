"""SEP with Gradient, Gradient x Input or Guided Backprop in its term, each tested with all three: Table 3.

python experiments/methods_table.py --flagfile=experiments/flags/methods_table_quick.flags --data_dir=DIR
"""

import command_line

from jsep import study

DEFAULTS = study.MethodsTableConfig.of(experiment="methods_table")

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)

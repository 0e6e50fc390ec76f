"""TRADES with SEP of either sign (appendix).

python experiments/trades_sep.py --flagfile=experiments/flags/trades_sep.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("trades_sep")

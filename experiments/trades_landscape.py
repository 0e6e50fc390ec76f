"""TRADES with several weights and the explanation-loss landscape of each: Figure 3.

python experiments/trades_landscape.py --flagfile=experiments/flags/trades_landscape_quick.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("trades_landscape")

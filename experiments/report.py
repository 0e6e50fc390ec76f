"""Redraws the page of a run from its files, or writes one page that compares several studies, or several landscape
analyses, on the same data.

python experiments/report.py RUN_DIR                                  writes RUN_DIR/index.html
python experiments/report.py RUN_DIR RUN_DIR ... --out=compare.html   writes compare.html
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("report")

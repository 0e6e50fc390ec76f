# make demo | paper-quick | paper | bench | docs | test | test-slow | test-all | lint | format | clean. PYTHON chooses the interpreter of the environment.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
PIP     = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo paper-quick paper bench docs test test-slow test-all browser lint format env clean

demo: $(VENV)/.installed
	$(BIN)/python experiments/digits_sep.py --flagfile=experiments/flags/digits_sep.flags --run_dir=runs/demo --overwrite
	$(BIN)/python experiments/attack.py --model=cifar10_convnet_standard --num_images=4 --out=runs/demo/photographs.png

# Every table and figure by its quick recipe (2 CPU cores, hours), or by the full one (one GPU, days). What is finished is
# skipped; DATA_DIR is a TFDS directory, TINY_IMAGENET_DIR that of TinyImageNet. PAPER=--dry_run shows the commands.
PAPER_DATA = $(if $(DATA_DIR),--data_dir=$(DATA_DIR)) $(if $(TINY_IMAGENET_DIR),--tiny_imagenet_dir=$(TINY_IMAGENET_DIR))

paper-quick: $(VENV)/.installed
	$(BIN)/python experiments/paper.py --recipe_set=quick $(PAPER_DATA) $(PAPER)

paper: $(VENV)/.installed
	$(BIN)/python experiments/paper.py --recipe_set=full $(PAPER_DATA) $(PAPER)

# Strict: a broken link, a public name without docstring or a source on another machine fails. Open site/index.html.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo site/index.html

# A worker takes files from the end of the other's, so that both end together and what a file shares is made once.
PYTEST = $(BIN)/python -m pytest -n 2 --dist worksteal --durations=10

test: $(VENV)/.installed
	$(PYTEST) -m "not slow and not long"

test-slow: $(VENV)/.oracle browser
	$(PYTEST) -m "slow and not long"

test-all: $(VENV)/.oracle browser
	$(PYTEST)

# Beside nothing else, or say what: make bench MINUTES=90 BESIDE="a video".
MINUTES ?= 60
BESIDE  ?= nothing
bench: $(VENV)/.oracle
	$(BIN)/python benchmarks/run_all.py --minutes $(MINUTES) --beside "$(BESIDE)"

browser:
	@bash .ci/browser

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

env: $(VENV)/.installed

# Made anew whenever what it holds is declared differently.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"error: jsep needs Python >= 3.11, but {sys.executable} is {v[0]}.{v[1]}; run: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e ".[test,lint]"
	@touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(PIP) -e ".[docs]"
	@touch $@

$(VENV)/.oracle: $(VENV)/.installed
	$(PIP) -e ".[test,lint,oracle,docs,notebooks,ray]"
	# It asks for a requests of 2021, which nothing else here can live with and which it uses for downloads alone.
	$(PIP) --no-deps torchattacks==3.5.1
	@touch $@

clean:
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
URL := http://127.0.0.1:8501

.DEFAULT_GOAL := help
.PHONY: help run test quick mutants fuzz strangers reliability check lint types fix bench lock docs example screenshots browser clean

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(VENV)/.run ## Start the dashboard on 127.0.0.1:8501 (sets itself up at the first call)
	@echo "sam-dash: $(URL)"
	@$(BIN)/python -m sam_dash serve

test: $(VENV)/.test browser ## Run all tests, in a browser too, on all cores
	@$(BIN)/python -m pytest -n auto -rf || { test $$? -eq 1 && echo "sam-dash: what failed among all, once more, alone:" && \
		$(BIN)/python -m pytest --last-failed --last-failed-no-failures none -v; }

QUICK := tests/maths/test_noise.py tests/maths/test_curvature.py tests/maths/test_m_sharpness.py tests/maths/test_tail.py \
	tests/variants/test_identities.py tests/runs/test_spec.py tests/results/test_statistics.py tests/test_architecture.py \
	tests/ui/test_pages.py::test_the_sharpness_figure_is_the_frame_of_its_csv

quick: $(VENV)/.test ## Run what notices most in little time: definitions, identities, specification, statistics, a page
	@$(BIN)/python -m pytest -n auto $(QUICK)

mutants: $(VENV)/.test ## Try whether the tests notice slips: a seeded sample of one-line changes (long; SAMPLE=60 SEED=0)
	@$(BIN)/python -m tests.mutants --sample $(or $(SAMPLE),60) --seed $(or $(SEED),0)

fuzz: $(VENV)/.test ## Try SharpnessAware on random modules against the loop written out by hand (COUNT=500 SEED=0)
	@$(BIN)/python -m tests.fuzz --count $(or $(COUNT),500) --seed $(or $(SEED),0)

strangers: $(VENV)/.test ## Try links, bundles, arrays and specifications on bent input (minutes; COUNT=10000 SEED=0)
	@$(BIN)/python -m tests.strangers --count $(or $(COUNT),10000) --seed $(or $(SEED),0)

reliability: $(VENV)/.test ## Kill, stop, lock, fill and delete, and write what became of the runs to docs/reliability.md
	@$(BIN)/python -m tests.reliability --out docs/reliability.md

check: lint types test ## All that CI runs: lint, types, tests

lint: $(VENV)/.test ## Check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.test ## Check types
	@$(BIN)/mypy -n auto

fix: $(VENV)/.test ## Mend what ruff can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.bench ## Time the fast paths side by side with what a user would otherwise write
	@$(BIN)/python -m benchmarks

lock: $(VENV)/.test ## Write requirements.lock anew, from requirements.txt
	@$(PIP) install uv==0.13.9
	@PATH="$(BIN):$$PATH" $(BIN)/python deploy/locked.py renew

docs: $(VENV)/.run ## Write the generated tables of docs/
	@$(BIN)/python -m docs.generate

example: $(VENV)/.run ## Make the studies that ship with the project (nine minutes on two cores)
	@$(BIN)/python -m docs.example

screenshots: $(VENV)/.test browser ## Photograph every page, light and dark, into out/screenshots
	@$(BIN)/python -m tests.browser.screenshots out/screenshots

browser: $(VENV)/.test
	@sh tests/browser/provide.sh $(BIN)/python

clean: ## Remove the environment and all caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.run: requirements.txt requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "sam-dash needs Python 3.11 or newer; try make PYTHON=python3.12")'
	@echo "sam-dash: setting up $(VENV) (a minute or more; torch is large)"
	@$(PYTHON) -m venv $(VENV)
	@$(if $(LOCKED),$(BIN)/python deploy/locked.py install,$(PIP) install -r requirements.txt)
	@touch $@

$(VENV)/.bench: $(VENV)/.test benchmarks/requirements.txt
	@$(PIP) install -r benchmarks/requirements.txt
	@touch $@

$(VENV)/.test: $(VENV)/.run tests/requirements.txt tests/requirements-postgres.txt tests/requirements-no-deps.txt
	@$(PIP) install -r requirements.txt -r tests/requirements.txt -r tests/requirements-postgres.txt
	@$(PIP) install --no-deps -r tests/requirements-no-deps.txt
	@touch $@

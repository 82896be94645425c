# `make demo` needs python3, make and a package index; everything else it installs into .venv itself. `make test` needs bubblewrap,
# chromium and chromium-driver of the system too.
PYTHON ?= python3
BIN := .venv/bin
# Without bytecode on disk, each worker and each process that a test starts compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo compare optimize test test-failed test-lowest test-pythons test-next fuzz mutants lint site package audit bench clean

.venv:
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml | .venv
	$(BIN)/python -m pip install --quiet --editable '.[local]'
	touch $@

.venv/.installed-dev: pyproject.toml .venv/.installed
	$(BIN)/python -m pip install --quiet --editable '.[local,optimize,report,parquet,postgres,ray,reasoning,datasets,serve,docs,dev]'
	touch $@

demo: .venv/.installed  ## three tiny real models on everyday questions: each alone, and together
	$(BIN)/python -m eval demo --accept-license

compare: .venv/.installed-dev  ## every method on everyday questions with three tiny real models: the table and the report
	$(BIN)/python -m eval compare --task everyday --limit 120 --mav-n 4 --mav-aspects facts,correctness,mistakes --out runs/compare --accept-license
	$(BIN)/python -m eval report runs/compare --out runs/compare/report.html

optimize: .venv/.installed-dev  ## MuxOptimizer on three tiny real models, scored on an untouched test split
	$(BIN)/python -m eval optimize --accept-license

# A file that kills its worker ends the run: with another worker, xdist may wait for ever.
test: .venv/.installed-dev  ## all tests, those with real small models included
	DSPY_MUX_ACCEPT_LICENSE=gemma $(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder \
		--max-worker-restart 0

test-failed: .venv/.installed-dev  ## the tests that failed last, one by one
	DSPY_MUX_ACCEPT_LICENSE=gemma $(BIN)/python -m pytest --numprocesses 0 --last-failed --last-failed-no-failures none

# Where pyenv keeps the Pythons, its shims find them; one that is missing is an error that names it.
NOX := UV_PYTHON_DOWNLOADS=never PYENV_VERSION=$$(pyenv versions --bare 2>/dev/null | paste -sd: -) $(BIN)/nox

test-lowest: .venv/.installed-dev  ## all tests on the lowest declared versions, with Python 3.10
	$(NOX) --session lowest

test-pythons: .venv/.installed-dev  ## all tests on Python 3.10 to 3.13
	$(NOX) --session tests

test-next: .venv/.installed-dev  ## all tests on the newest DSPy, pre-releases included
	$(NOX) --session next

MINUTES ?= 10

fuzz: .venv/.installed-dev  ## the fuzz tests with new examples, for MINUTES; what fails is told with its seed
	$(BIN)/python -m tests.fuzz $(MINUTES)

SAMPLE ?= 20
SEED ?= 1

mutants: .venv/.installed-dev  ## small faults planted in each of ROOMS, SAMPLE a room drawn by SEED: those that no test sees
	$(BIN)/python -m tests.mutants $(ROOMS) --sample $(SAMPLE) --seed $(SEED)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

site: .venv/.installed-dev  ## the pages of docs/, strictly: a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --site-dir build/site

package: .venv/.installed-dev  ## the wheel and the source distribution in build/dist, checked
	rm -rf build/dist
	$(BIN)/python -m build --no-isolation --outdir build/dist
	$(BIN)/python -m twine check --strict build/dist/*

audit: .venv/.installed-dev  ## known vulnerabilities in what is installed; needs the advisories' address
	$(BIN)/uvx pip-audit --skip-editable --path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

bench: .venv/.installed-dev  ## timings, as ratios within one run; then how the corpus of answers is read
	$(BIN)/python -m eval.performance
	$(BIN)/python -m tests.answers.corpus

clean:
	rm -rf .venv .mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis .nox

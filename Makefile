# Needs Python 3.10 to 3.12, gcc and g++ on Linux x86-64; everything else comes into .venv*.
PYTHON ?= python3
DEMO := .venv
TEST := .venv-test
PYTEST := $(TEST)/bin/python -m pytest --dist loadfile --cov --cov-report=
SIZES := --size 320x240 --size 640x480 --size 1280x1024

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs bench faults soak fuzz train-smoke clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(DEMO)/ready  ## Play a real bag to the real node; look at out/report.html
	$(DEMO)/bin/python -m demo.run

# All tests run even if some fail. Each test over DDS starts a node: two at a time.
test: $(TEST)/ready  ## Run every check and test: core, torch, and the real node over DDS; print coverage
	@rm -f .coverage; status=0; \
	$(MAKE) --no-print-directory lint || status=1; \
	OMP_NUM_THREADS=1 $(PYTEST) -n logical --ignore=test/ros --ignore=test/system || status=1; \
	$(PYTEST) -n 2 --cov-append test/ros test/system || status=1; \
	$(TEST)/bin/coverage report || status=1; \
	exit $$status

lint: $(TEST)/ready  ## Check style, format and types
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy

docs: $(TEST)/ready  ## Build the documentation website; look at out/docs/index.html
	$(TEST)/bin/sphinx-build -q -W --keep-going -b html docs out/docs

# Needs torch for the paper's network, which has no bundle. Nothing else should run meanwhile.
bench: $(TEST)/ready  ## Time every stage, growth with size, the paper's and the real-time network, the live node
	mkdir -p out
	$(TEST)/bin/tdfusion bench --raw $(SIZES) -o out/bench.json
	$(TEST)/bin/python -m benchmarks.speed -o out/speed.json
	$(TEST)/bin/python -m benchmarks.latency --raw -o out/latency.json

faults: $(TEST)/ready  ## Inject 18 faults into the live node and check how it reacts
	$(TEST)/bin/python -m pytest test/system -m system -k faults

soak: $(TEST)/ready  ## Run the live node for 20 minutes and check that nothing grows
	$(TEST)/bin/python -m pytest test/system -m system -k soak

fuzz: $(TEST)/ready  ## Feed 100,000 damaged inputs to every reader of files and messages
	OMP_NUM_THREADS=1 $(TEST)/bin/python -m pytest test/fuzz -n logical --inputs 100000

train-smoke: $(TEST)/ready  ## Train both networks for a few steps and export them
	$(TEST)/bin/python -m pytest -m torch test/training

clean:  ## Remove environments and results
	rm -rf .venv .venv-test out build *.egg-info

# What a robot needs: no torch. ROS comes from pip here because this need not be a robot.
$(DEMO)/ready: pip_ros/requirements.txt setup.py
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/pip install -q -r pip_ros/requirements.txt -e .
	$(DEMO)/bin/python pip_ros/build_messages.py
	touch $@

$(TEST)/ready: pip_ros/requirements.txt setup.py
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/pip install -q -r pip_ros/requirements.txt -e '.[train,test,docs]'
	$(TEST)/bin/python pip_ros/build_messages.py
	touch $@

# Everything runs in an environment of its own, made from nothing where it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo

.PHONY: demo test lint types bench bench-policies bench-peers bench-asking bench-agents bench-users bench-trust bench-agentcf bench-stats bench-generative clean bench-rf-dpo

$(VENV)/.done: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --no-compile -e '.[dev,full]'
	touch $@

$(VENV)/.core: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --no-compile -e .
	touch $@

$(VENV)/.bench: $(VENV)/.done
	$(BIN)/python -m pip install -q --no-compile -e '.[dev,full,bench]'
	touch $@

demo: $(VENV)/.core
	rm -rf $(DEMO)
	$(BIN)/simenv run quickstart --out $(DEMO)

test: export SIMENV_ALL_EXTRAS = 1
test: $(VENV)/.done
	$(BIN)/python -m pytest -n 2 -m "not slow"
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The wings live at the top level but are imported below simenv: the checker sees them through links.
types: $(VENV)/.done
	rm -rf build/typing && mkdir -p build/typing/simenv
	ln -s ../../../agents ../../../recommenders ../../../reports ../../../scenarios build/typing/simenv/
	for part in simenv/*; do ln -s ../../../$$part build/typing/simenv/; done
	$(BIN)/mypy build/typing/simenv

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.stepping

bench-asking: $(VENV)/.done
	$(BIN)/python -m benchmarks.asking

bench-agentcf: $(VENV)/.done
	$(BIN)/python -m benchmarks.agentcf

bench-agents: $(VENV)/.done
	$(BIN)/python -m benchmarks.agents

bench-users: $(VENV)/.done
	$(BIN)/python -m benchmarks.users

# One part: make bench-trust ONLY=ml-1m/ranking
bench-trust: $(VENV)/.done
	$(BIN)/python -m benchmarks.trust $(foreach name,$(ONLY),--only $(name))

# Three seeds, some one hour on one core; what stands in a --work folder is not done again.
bench-rf-dpo: $(VENV)/.done
	$(BIN)/python -m benchmarks.rf_dpo

bench-stats: $(VENV)/.done
	$(BIN)/python -m benchmarks.stats

bench-generative: $(VENV)/.done
	$(BIN)/python -m benchmarks.decoding
	$(BIN)/python -m benchmarks.preferring

# One of them: make bench-policies ONLY=gowalla/lightgcn
bench-policies: $(VENV)/.done
	$(BIN)/python -m benchmarks.policies $(foreach name,$(ONLY),--only $(name))

# Peers are installed in environments of their own, below build/peers.
bench-peers: $(VENV)/.done
	$(BIN)/python -m benchmarks.peers

clean:
	rm -rf build runs $(VENV)

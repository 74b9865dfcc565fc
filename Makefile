# Two commands: `make run` does the main job, `make test` passes the tests.
# Each target is the real command; `make help` lists them.

VENV   ?= .venv
PYTHON ?=
STRIP  ?= strips/example/strip.yaml
CONFIG ?= firmware_configs/flatsat.yaml
OUT    ?= build/run
PYTEST_ARGS ?=
BENCH  ?= hil_tests/benches/this_machine.yaml

BIN := $(VENV)/bin
BOOTSTRAP = PYTHON="$(PYTHON)" sh tools/bootstrap.sh $(VENV)

.DEFAULT_GOAL := help
.PHONY: help run test check campaign hil fuzz bench bench-engines retrain interfaces pass downlink clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18
	@echo "  Variables: STRIP=$(STRIP) CONFIG=$(CONFIG) OUT=$(OUT) VENV=$(VENV) PYTHON PYTEST_ARGS"

run: $(VENV)/.has-ground ## the main job: STRIP through the networks into the queue in OUT, with pictures
	$(BIN)/payload run $(STRIP) --config $(CONFIG) --out $(OUT)
	@echo "Pictures: $(OUT)/quicklook.png    Figures: $(OUT)/run.json    Queue: $(BIN)/payload queue $(OUT)"

test: $(VENV)/.has-test ## the tests; no hardware needed
	$(BIN)/python -m pytest -m "not slow and not hil" $(PYTEST_ARGS)

check: $(VENV)/.has-check ## format, lint, types, import contracts
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

pass: $(VENV)/.has-ground ## a rehearsed pass: STRIP flown, downlinked over a loopback that loses 5 %, decoded to pictures
	$(BIN)/python -m tools.ground.rehearsal --strip $(STRIP) --out build/pass
	@echo "Pictures: build/pass/ground/pictures    Report: build/pass/ground/pass.json"

downlink: $(VENV)/.has-downlink ## the downlink order against its bounds, FIFO and a cloud filter: table and figure
	$(BIN)/python -m tools.downlink

campaign: $(VENV)/.has-test ## the slow tests: memory measured in real processes, kill -9 by the hundred
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

hil: $(VENV)/.has-test ## the tests that need a bench: BENCH=hil_tests/benches/flatsat.yaml
	$(BIN)/python -m pytest hil_tests --bench $(BENCH) $(PYTEST_ARGS)

fuzz: $(VENV)/.has-test ## ten million damaged, forged and replayed packets against the uplink, a million PDUs of each kind against CFDP
	SKYSIFT_FUZZ_PACKETS=10000000 $(BIN)/python -m pytest -s -o faulthandler_timeout=0 tests/test_fuzz_packets.py $(PYTEST_ARGS)
	SKYSIFT_FUZZ_PDUS=1000000 $(BIN)/python -m pytest -s -o faulthandler_timeout=0 tests/test_fuzz_pdus.py $(PYTEST_ARGS)

bench-engines: $(VENV)/.has-ground ## what each engine takes, alone and in a child process; build/bench_engines.json
	$(BIN)/python -m tools.bench_engines

bench: $(VENV)/.has-bench ## the speed table, against DTACSNet's networks; writes build/bench.json
	$(BIN)/python -m tools.bench

retrain: $(VENV)/.has-train ## new weights from samples to the running payload, over a slow broken link; build/retrain
	$(BIN)/python -m tools.retrain

interfaces: $(VENV)/.has-ground ## write docs/interfaces.md from the telemetry tables
	$(BIN)/python -m tools.interfaces

clean: ## remove the environment and all that was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

EXTRAS_ground   := ground
EXTRAS_test     := ground,test
EXTRAS_check    := ground,test,check
EXTRAS_train    := ground,train
EXTRAS_bench    := ground,bench,litert
EXTRAS_downlink := downlink

# One stamp per set of extras, so that a second make is instant.
$(VENV)/.has-%: pyproject.toml tools/bootstrap.sh
	@$(BOOTSTRAP) $(EXTRAS_$*)
	@touch $@

# Pinnace: `make test` is the one test command, `make quickstart` runs the main job.

PREFIX ?= /usr/local
RUNTIME ?= containerd
PYTHON ?= python3
CARGO ?= cargo
FUZZ_SECONDS ?= 600
VENV := target/venv

.PHONY: help build test test-rust test-python test-c test-clients test-fuzz test-kills fuzz lint bench quickstart install deps clean

help:
	@echo 'make test        everything: Rust, Python, C, clients, and a little fuzzing'
	@echo 'make test-kills  kills the engine after every k-th write of every scenario, for all k'
	@echo 'make fuzz        fuzzes each target for FUZZ_SECONDS=$(FUZZ_SECONDS)'
	@echo 'make quickstart  the main job in real containers (RUNTIME=process without containerd)'
	@echo 'make bench       the benchmarks: a table, and target/bench.json'
	@echo 'make lint        formatting, clippy, the committed header'
	@echo 'make install     libpinnace for C and C++ below PREFIX=$(PREFIX)'

deps:
	@RUNTIME=$(RUNTIME) sh tests/install-packages.sh

build: deps
	$(CARGO) build --workspace

test: test-rust test-kills test-python test-c test-clients test-fuzz

test-rust: deps
	$(CARGO) test --workspace --features pinnace/cli,pinnace/kube --no-fail-fast

test-python: deps
	PYTHON=$(PYTHON) VENV=$(VENV) sh bindings-python/run-tests.sh

test-c: deps
	sh bindings-c/run-tests.sh

# Others' clients; in the virtual environment that the tests of the Python package have made.
test-clients: test-python
	$(CARGO) build --package pinnace --features cli
	$(VENV)/bin/pip install --quiet --requirement tests/clients/requirements.txt
	$(VENV)/bin/python -m pytest --quiet -p no:cacheprovider tests/clients

# Twenty seconds for everything that reads bytes from outside.
test-fuzz: deps
	sh tests/fuzz/run.sh 20

# For all k; test-rust does small k only. The whole workspace is named, or crates are built anew.
test-kills: deps
	PINNACE_KILLS_APART=1000000 $(CARGO) test --workspace --features pinnace/cli,pinnace/kube \
		--test all restarts::

fuzz: deps
	FUZZ_SEED=0 CORPUS=$(CURDIR)/target/fuzz/corpus sh tests/fuzz/run.sh $(FUZZ_SECONDS)

lint: deps
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --features pinnace/cli,pinnace/kube -- -D warnings

bench: deps
	sh tests/bench.sh

quickstart: deps
	RUNTIME=$(RUNTIME) sh examples/quickstart.sh

install: deps
	$(MAKE) -C bindings-c install PREFIX=$(PREFIX)

clean:
	$(CARGO) clean

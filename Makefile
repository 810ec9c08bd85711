# The commands of the project. The work is done by the scripts in scripts/; each says at its top what it does.

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup setup-kafka build guests demo demo-kafka test torture bench newcomer clean

DATA ?= january

help:
	@echo 'make build          build the thalweg binary alone; its path is the last line'
	@echo 'make guests         build the Wasm components of guest-examples/'
	@echo 'make demo           real flights through Wasm, windows and a Python worker; DATA=full for the whole year'
	@echo 'make demo-kafka     the same through a real Kafka broker (no Docker)'
	@echo 'make test           everything: lints, unit tests, Beam suite, the demos against their oracle'
	@echo 'make torture        100 random kills, 20 of a cluster and 2,000 seeds of the simulation, into RELIABILITY.md; KILLS=100 ROUNDS=20 SEEDS=2000'
	@echo 'make bench          CPU per event beside the plain Rust limit and timely dataflow; ROUNDS=3'
	@echo 'make newcomer       what a new function waits for in each language: new, tests, build, run; cold and warm'
	@echo 'make clean          delete what the commands above made, but not what they fetched'
	@echo
	@echo 'The first build takes about 20 minutes on 2 cores; what is fetched goes into .venv and .cache.'

setup:
	@scripts/setup.sh system wasm python

setup-kafka:
	@scripts/setup.sh kafka

build:
	@scripts/build.sh

guests: build
	@scripts/build-guests.sh

demo:
	@scripts/demo.sh $(DATA)

demo-kafka:
	@scripts/demo_kafka.sh

test:
	@scripts/test.sh

torture:
	@scripts/torture.sh $(or $(KILLS),100) $(or $(SEEDS),2000) $(or $(ROUNDS),20)

bench:
	@scripts/bench.sh $(or $(ROUNDS),3) $(PARTS)

newcomer:
	@scripts/newcomer.sh

clean:
	rm -rf target out .state .cache/bench/target

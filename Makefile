# Each target is one line that calls the real thing.
.DEFAULT_GOAL := help
SEED ?= 1
GATEWAYS ?= 1
ARGS ?=

.PHONY: help run run-full sale services-up services-down measure compare cost boards search-long test sim sim-redis sim-long restarts compose-check deny docs fmt clean

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile

run: ## the whole mall in one process, on 127.0.0.1:8080 to 8082, data in ./data
	cargo run --locked --profile quick -p standalone -- $(ARGS)

run-full: ## gateway, order-core and admin as processes, on Redis, Kafka and MariaDB: make run-full GATEWAYS=2
	GATEWAYS=$(GATEWAYS) bash deploy/run-full.sh

sale: ## sell out a flash sale against `make run` and audit it
	cargo run --locked --profile quick -p bench -- sale $(ARGS)

services-up: ## Redis, MariaDB, Kafka, Elasticsearch and nginx, private, on loopback; says what listens where
	bash deploy/services/services.sh install
	bash deploy/services/services.sh up

services-down: ## stops what services-up started
	bash deploy/services/services.sh down

measure: ## what a reservation costs gateway and Redis on the processor: see bench/RESULTS.md
	bash bench/measure.sh

compare: ## this mall next to other ways to sell: cost, throughput, latency, and what is lost after kill -9
	bash bench/compare.sh

cost: ## what each kind of answer costs beside nginx and a bare hyper: see bench/RESULTS.md
	bash bench/cost.sh

boards: ## what 50 live boards cost the mall in ten minutes: make boards SECONDS_WATCHED=120
	cargo build --locked --profile quick -p standalone
	bash bench/boards.sh

search-long: ## search over 100,000 products on both indexes, and 10,000 changes with kills: see bench/RESULTS.md
	bash bench/search.sh

test: ## format, lints, every test, Schemathesis
	bash deploy/test.sh

sim: ## replay one seed of the simulation: make sim SEED=n
	cargo run --locked -p sim -- $(SEED)

sim-redis: ## replay one seed of the simulation of ledgers in Redis: make sim-redis SEED=n
	cargo run --locked -p sim -- redis $(SEED)

sim-long: ## 100,000 seeds of the simulation of ledgers in Redis, those that do not hold by their numbers
	cargo run --locked --profile quick -p sim -- redis 0 100000

restarts: ## restart every process of a mall on real servers 50 times during a sale; what was promised must not be lost
	bash deploy/services/services.sh install
	RESTARTS=50 cargo test --locked --package standalone --test mall --features kafka full::restarts -- --nocapture

compose-check: ## check every file that deploys the mall: Compose, Dockerfile, manifests, alerts, dashboard, units
	bash deploy/check.sh

deny: ## check licences, sources, bans and advisories of all dependencies; builds cargo-deny first (minutes)
	cargo install --locked --quiet --root target/tools cargo-deny
	target/tools/bin/cargo-deny check

docs: ## write docs/settings.md and docs/settings.example.yaml from the code
	UPDATE_DOCS=1 cargo test --locked --quiet -p foundation --lib config::reference

fmt: ## format the code
	cargo fmt --all

clean: ## remove what was built; ./data stays
	cargo clean

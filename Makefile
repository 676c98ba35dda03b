# The comment of each target tells what it does. `make` alone lists them.

.PHONY: help run test bench growth benchmarks scale fuzz mutants scorecard static install

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

run: ## start examples/server on a SQLite file, with 344 penguins in it; ARGS='-addr … -db …' are its flags
	@mkdir -p bin
	@cd examples/server && go build -o ../../bin/server .
	@exec ./bin/server $(ARGS)

test: ## everything, from a bare machine: installs what it needs, fails if a part cannot run
	@scripts/test

bench: ## latchkey beside its peers: writes bench/RESULTS.md and what documents say of it; ARGS='-only check' are its flags
	@cd bench && go run . $(ARGS)

growth: ## what grows with the number of tokens and grants: writes bench/GROWTH.md; ARGS='-only sqlite' are its flags
	@cd bench && go run . -growth $(ARGS)

benchmarks: ## the benchmarks beside the code
	go test -run '^$$' -bench . -benchmem -timeout 30m ./...
	cd e2e && go test -run '^$$' -bench . -benchmem -timeout 60m ./bench ./clusters ./nodes

scale: ## figures of many nodes, many owners and distance, on PostgreSQL; ARGS='-only listeners' are its flags
	@cd e2e && go run ./bench/scale $(ARGS)

fuzz: ## each fuzz target for FUZZTIME (10000x, or a duration); part of test
	@scripts/fuzz

mutants: ## remove guards, one at a time, each of which must fail a test; ARGS='-only verify.go' are its flags
	@go run ./scripts/mutants $(ARGS)

scorecard: ## the goals of security, measured, into docs/SCORECARD.md; ARGS='-only 1,9' measures some
	@go run ./scripts/scorecard $(ARGS)

static: ## gofmt, line length, import rules, go vet, staticcheck, actionlint; part of test
	@scripts/static

install: ## Chromium, PostgreSQL, MariaDB and the npm packages the end-to-end tests use; part of test
	@scripts/install

# Everything a contributor runs. Needs Go and make; "make test" fetches the rest.
# The work is done by scripts in internal/tools, so that each can be read alone.

SHELL := /bin/sh
# More flags: make demo ARGS="--port 9000", make interop ARGS="-run Logout"
ARGS ?=
# How long "make fuzz" spends on each target.
FUZZTIME ?= 20s
# How many rounds "make cutoff" runs for each form of Redis.
ROUNDS ?= 1000

.DEFAULT_GOAL := help
.PHONY: help demo test build lint fmt fuzz bench gatebench scimbench samlbench interop kill cutoff websockets streams screenshots

help: ## Say what can be made
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z][a-z]*\):.*## /  \1	/p' Makefile | expand -t 16

demo: ## Run the whole story on this machine, offline: gateway, sample app, identity providers
	@sh internal/tools/demo.sh $(ARGS)

test: ## Run everything that continuous integration runs
	@sh internal/tools/test.sh

build: ## Build the static binary dist/ssogate
	@mkdir -p dist
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o dist/ssogate ./cmd/ssogate

lint: ## Run gofumpt (check only), go vet and golangci-lint
	@sh internal/tools/lint.sh

fmt: ## Format the Go files
	@sh internal/tools/fmt.sh

fuzz: ## Run every fuzz target for FUZZTIME (20s) each
	@sh internal/tools/fuzz.sh $(FUZZTIME)

bench: gatebench ## Measure the gate beside other proxies, then stores and parts; ratios of one run mean something, times do not
	go test -run '^$$' -bench . -benchmem ./bench/... ./proxy ./session

gatebench: ## Measure what an admitted request costs, next to other proxies; write docs/performance.md
	go run ./bench/gate -out $(CURDIR)/docs $(ARGS)

scimbench: ## Measure provisioning at a million members on both databases; write docs/scim-scale.md
	CI=true go test -count=1 -timeout 3h -v -run 'TestProvisioningAtScale' ./bench/scim -args -scim.members 1000000 -scim.group 100000 \
		-scim.patch 10000 -scim.sync 100000 -scim.samples 200 -scim.out $(CURDIR)/docs/scim-scale.md

samlbench: ## Measure how many SAML responses one core verifies, beside crewjam/saml; write docs/saml-bench.md
	go test -count=1 -timeout 30m -v -run 'TestVerificationRate' ./bench/saml -args \
		-saml.rounds 40 -saml.batch 100 -saml.out $(CURDIR)/docs/saml-bench.md

interop: ## Sign in and out with SimpleSAMLphp and node's oidc-provider in Chromium; installs what is missing
	@sh internal/tools/interop.sh $(ARGS)

kill: ## Kill the process 200 times while it is provisioned; write docs/scim-kill.md
	CI=true go test -count=1 -timeout 1h -v -run 'TestGuaranteeNothingLostKillDashNine' ./internal/gatetest -args \
		-kill.rounds 200 -kill.out $(CURDIR)/docs/scim-kill.md

cutoff: ## Cut a member off ROUNDS (1000) times across three nodes, while things break; write docs/cutoff.md
	CI=true go test -count=1 -timeout 6h -parallel 3 -run 'TestGuaranteeCutOffAcrossNodes' ./internal/gatetest -args \
		-cutoff.rounds $(ROUNDS) -cutoff.out $(CURDIR)/docs/cutoff.md

websockets: ## Open 10,000 idle WebSockets on one gateway, revoke one member, print the memory of each
	SSOGATE_WEBSOCKETS=10000 go test -count=1 -timeout 9m -v -run 'TestW03IdleWebSockets' ./proxy

streams: ## Send 10 GiB up and down through the gate, print the memory it takes
	go test -count=1 -timeout 30m -v -run 'TestLargeTransfers' ./proxy -args -large 10737418240

screenshots: ## Make the pictures in docs/screenshots anew, with Chromium
	SSOGATE_SCREENSHOTS=$(CURDIR)/docs/screenshots go test -count=1 -run 'TestBrowserFollows|TestBrowserThatBlocks' ./internal/gatetest

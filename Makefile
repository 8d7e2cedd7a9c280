# make help lists what there is. The work is done by small scripts in tests/tools.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help up down build ui test lint gen bench image clean

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LINTER_VERSION := v2.15.0
TOOLS := tests/tools

help: ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## build, start everything on this machine, deploy examples/hello and print its URL
	@$(TOOLS)/up

down: ## stop what make up started; the data stays in .data
	@$(TOOLS)/down

build: ui ## dashboard and static binary bin/pandu
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/pandu .
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o bin/pandu-fileserver ./modules/kit/fileserver/cmd/pandu-fileserver

ui: ## the dashboard into ui/dist, where the binary embeds it (skipped without Node 20.19)
	@$(TOOLS)/ui

test: ## run everything: unit, database, Docker, dashboard, browser, end to end (some 20 minutes on 2 cores)
	@$(TOOLS)/test

lint: ## golangci-lint, the laws it has to keep, and the dashboard's linter and types
	@$(TOOLS)/lint $(LINTER_VERSION)

gen: ## write anew what is generated: protocol, API description, golden files, the dashboard's types
	@$(TOOLS)/gen

bench: ## measure the paths that have a budget
	go test -run '^$$' -bench . -benchtime 1s -exec '$(CURDIR)/$(TOOLS)/alone' ./...

image: ## container images pandu:latest (the roles) and pandu:all-in-one, without network in their steps
	@$(TOOLS)/image $(VERSION)

clean: ## remove what was built; .data (what make up keeps) stays
	rm -rf bin ui/node_modules ui/dist coverage.out
	mkdir -p ui/dist && touch ui/dist/.keep

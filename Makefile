# `make test` and `make demo` are all that a fresh machine needs: each installs what it lacks and says so.

.PHONY: help build test demo bench fixtures

help:
	@echo "make test      format, lints and every test"
	@echo "make demo      a legacy program answers with a real model"
	@echo "make bench     prints what the adapter costs beside the alternatives"
	@echo "make fixtures  rebuilds the committed guests"

build:
	@scripts/setup.sh build
	cargo build --release --package llm-wasi

test:
	@scripts/setup.sh build
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	LLM_WASI_SMOLLM2="$$(scripts/setup.sh model)" cargo test --release --workspace

demo: build
	@scripts/demo.sh

bench:
	@scripts/setup.sh build
	cargo run --release --package llm-wasi-bench

fixtures:
	fixtures/build.sh

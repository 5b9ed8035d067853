# `make test` and `make demo` are all that a fresh machine needs: each installs what it lacks and says so.

.PHONY: help build test demo bench fixtures advisories

help:
	@echo "make test        format, lints, licences and every test"
	@echo "make demo        a legacy program answers with a real model"
	@echo "make bench       prints what the adapter costs beside the alternatives"
	@echo "make build       the program, target/release/llm-wasi"
	@echo "make fixtures    rebuilds the committed guests"
	@echo "make advisories  asks RustSec about the dependencies; needs github.com"

build:
	@scripts/setup.sh build
	cargo build --release --package llm-wasi

test:
	@scripts/test.sh

demo:
	@scripts/demo.sh

bench:
	@scripts/setup.sh build
	cargo run --release --package llm-wasi-bench

fixtures:
	fixtures/build.sh

advisories:
	"$$(scripts/setup.sh deny)" check advisories

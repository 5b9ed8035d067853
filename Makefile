# `make test` and `make demo` are all that a fresh machine needs: each installs what it lacks and says so.

.PHONY: help build test demo bench book fixtures fuzz soak advisories

help:
	@echo "make test        format, lints, licences and every test"
	@echo "make demo        a legacy program answers with a real model"
	@echo "make bench       prints what adapter and host cost (TABLES=language for one table)"
	@echo "make book        the documents as a book, target/book/index.html"
	@echo "make build       the program, target/release/llm-wasi"
	@echo "make fixtures    rebuilds the committed guests"
	@echo "make fuzz        runs each fuzz target for long (CASES=100000)"
	@echo "make soak        runs mixed programs for an hour, and watches what the process holds"
	@echo "make advisories  asks RustSec about the dependencies; needs github.com"

build:
	@scripts/setup.sh build
	cargo build --release --workspace --bins

test:
	@scripts/test.sh

demo:
	@scripts/demo.sh

bench:
	@scripts/setup.sh build
	cargo build --release --workspace --bins
	# glibc would give large buffers back after every cycle, and their page faults would be what is measured.
	MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=1000000000 \
	LLM_WASI_SMOLLM2="$$(scripts/setup.sh model)" $${CARGO_TARGET_DIR:-target}/release/llm-wasi-bench $(TABLES)

book:
	"$$(scripts/setup.sh mdbook)" build docs

fixtures:
	fixtures/build.sh
	guests/build.sh
	engine/build.sh
	examples/build.sh rust c

fuzz:
	@scripts/setup.sh build
	# The whole workspace: for a part of it Cargo builds llama.cpp again, with other features.
	LLM_WASI_FUZZ_CASES=$${CASES:-100000} \
	LLM_WASI_ONNXRUNTIME="$$(scripts/setup.sh onnxruntime)" LLM_WASI_OPENVINO="$$(scripts/setup.sh openvino)" \
	cargo test --release --workspace --test short --test calls --test models -- --nocapture
	# Each run is a process.
	LLM_WASI_FUZZ_CASES=$$(( $${CASES:-100000} / 100 )) \
	cargo test --release --workspace --test arguments -- --nocapture

soak:
	scripts/soak.sh $(SECONDS)

advisories:
	"$$(scripts/setup.sh deny)" check advisories

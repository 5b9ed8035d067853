#!/usr/bin/env bash
# Mixed programs for SECONDS (by default an hour): what is allocated stays within 2 %, and no descriptor or thread is left.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

scripts/setup.sh build || fail "the build's tools are missing"
if value=$(scripts/setup.sh onnxruntime); then export LLM_WASI_ONNXRUNTIME=$value; fi
cargo build --release --workspace --bins
# Two arenas, as on a small machine, and no memory that threads keep: that is not what is looked for.
GLIBC_TUNABLES=glibc.malloc.tcache_count=0 MALLOC_ARENA_MAX=2 exec "$target/release/llm-wasi-soak" "${1:-3600}"

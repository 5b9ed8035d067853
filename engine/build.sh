#!/bin/sh
# Rebuilds the engine component, engine/engine.wasm.
#
#   engine/build.sh [--check]
#
# --check leaves it alone: it rebuilds elsewhere, says whether it differs from the committed one, and
# exits with 1 if it does. Other compilers than those of ../fixtures/README.md give other bytes; a
# difference is then no fault by itself.
#
# What is missing is installed with apt-get (the script says so). The build's own files go to
# ${GUESTS_TARGET:-target/guests}. The component is made by `llm-wasi`, which is built for that.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
. "$root/scripts/wasm.sh"
begin engine "$@"

kind=reactor rust_wasm "$root/guests" wasm32-wasip1 engine
(cd "$root" && cargo build --release --workspace --bins)
"${CARGO_TARGET_DIR:-$root/target}/release/llm-wasi" componentize --quiet "$out/engine.wasm" -o "$out/component.wasm"
mv "$out/component.wasm" "$out/engine.wasm"
finish "$here" "$check"

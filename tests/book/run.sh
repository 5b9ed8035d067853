#!/usr/bin/env bash
# The book: mdBook builds it without a warning, its links lead somewhere, and every command that README.md and the
# pages in docs/ show runs and prints what they show. See README.md beside this file.
#
# Usage: tests/book/run.sh [PAGE...]     for example docs/start.md
#
# Prints `N passed, N failed` last.
set -uo pipefail
source "$(dirname "$0")/../../scripts/lib.sh"

llm_wasi=$target/release/llm-wasi
[ -x "$llm_wasi" ] || fail "expected $llm_wasi: run \`cargo build --release --package llm-wasi\`"

# part VARIABLE PART: what scripts/setup.sh prints for the part.
part() {
  local value
  if value=$(scripts/setup.sh "$2"); then
    printf -v "$1" '%s' "$value"
    return
  fi
  [ "${CI:-}" != true ] || fail "$2 is missing, and this is CI"
  say "skipped: the book, for want of $2"
  printf '0 passed, 0 failed\n'
  exit 0
}
part model model
part onnxruntime onnxruntime
part orientation orientation
part orientation_onnx orientation-onnx
part tools tools
part mdbook mdbook
part minisign minisign
part node node

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
checkout=$work/checkout
mkdir "$checkout" "$work/bin" "$work/home"

# What a reader has: the repository, built, with the files that pages speak of.
git ls-files --cached --others --exclude-standard -z |
  while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
  xargs -0 cp --parents -t "$checkout"
mkdir -p "$checkout/target/release" "$checkout/models" "$checkout/build"
for built in llm-wasi ask-host libllm_wasi_node.so; do
  ln -s "$target/release/$built" "$checkout/target/release/$built"
done
ln -s "$model" "$checkout/model.gguf"
ln -s "$orientation_onnx" "$checkout/classifier.onnx"
ln -s "$orientation" "$checkout/models/orient"
cp fixtures/wasm/chat.wasm "$checkout/app.wasm"
cp fixtures/wasm/chat.wasm fixtures/wasm/classify.wasm "$checkout"
cp fixtures/wasm/chat.wasm "$checkout/build"
cp "$(cargo metadata --format-version 1 --locked | python3 -c '
import json, os, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "wasi-preview1-component-adapter-provider":
        print(os.path.dirname(package["manifest_path"]))')/artefacts/wasi_snapshot_preview1.command.wasm" "$checkout"
# The programs that pages call by name, and nothing of the user's own.
ln -s "$llm_wasi" "$tools/bin/wasmtime" "$tools/bin/wasm-tools" "$mdbook" "$minisign" "$node"/* "$work/bin"
export PATH=$work/bin:$PATH
for variable in $(compgen -e | grep -E '^(LLM_WASI_|XDG_|RUST_LOG$|RUST_BACKTRACE$|VK_|GGML_)'); do unset "$variable"; done
export HOME=$work/home LLM_WASI_CACHE=$cache NO_PROXY=127.0.0.1 PYTHONDONTWRITEBYTECODE=1
# As `pip install` puts it, and as Wasmtime's command line finds OpenVINO.
export PYTHONPATH=${onnxruntime%/onnxruntime/*}:$tools/python LD_LIBRARY_PATH=$tools/lib:$tools/python/openvino/libs

python3 tests/book/run.py "$checkout" "$@"

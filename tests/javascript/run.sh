#!/usr/bin/env bash
# The package in javascript/ on Node.js: the addon, the engine and other components, transpiled with jco, the
# example, and the conformance cases. Prints `N passed, N failed` last.
set -uo pipefail
source "$(dirname "$0")/../../scripts/lib.sh"

llm_wasi=$target/release/llm-wasi
tiny_models=$target/release/llm-wasi-tiny-models
addon=$target/release/libllm_wasi_node.so
[ -e "$addon" ] || addon=$target/release/libllm_wasi_node.dylib
for file in "$llm_wasi" "$tiny_models" "$addon"; do
  [ -e "$file" ] || fail "expected $file: run \`cargo build --release --workspace\`"
done
# install: what the package and the example need, with Node.js' own package manager.
install() {
  export PATH=$node:$PATH
  for package in javascript examples/hosts/javascript; do
    npm --prefix "$package" ci --prefer-offline --no-audit --no-fund --loglevel=error >&2 || return 1
  done
}
if ! node=$(scripts/setup.sh node) || ! model=$(scripts/setup.sh model) ||
  ! onnxruntime=$(scripts/setup.sh onnxruntime) || ! install; then
  [ "${CI:-}" != true ] || fail "Node.js, its packages or a model are missing, and this is CI"
  say "skipped: Node.js, its packages or a model cannot be had"
  printf '0 passed, 0 failed\n'
  exit 0
fi
export LLM_WASI_NODE_ADDON=$addon LLM_WASI_SMOLLM2=$model LLM_WASI_ONNXRUNTIME=$onnxruntime
say "Node.js $(node --version), npm $(npm --version)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source scripts/checks.sh

# counted NAME COMMAND...: the command prints `N passed, N failed`, or the counts of `node --test`.
counted() {
  local name=$1 status sums
  shift
  say "$name"
  "$@" >"$work/counted" 2>&1
  status=$?
  # Without the counts, which are printed once, at the end.
  if [ "$status" = 0 ]; then grep '^ok' "$work/counted"; else grep -vE '^[0-9]+ passed,' "$work/counted"; fi
  read -r -a sums <<<"$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p; s/^# (pass|fail) ([0-9]+)$/\2/p' \
    "$work/counted" | tr '\n' ' ')"
  if [ "$status" != 0 ] && [ "${sums[1]:-0}" = 0 ]; then sums[1]=1; fi
  if [ "$status" = 0 ] && [ "${sums[0]:-0}" = 0 ]; then
    say "$name: no test ran"
    sums[1]=1
  fi
  passed=$((passed + ${sums[0]:-0}))
  failed=$((failed + ${sums[1]:-0}))
}

transpile() { node javascript/transpile.js "$@"; }

"$tiny_models" "$work" || fail "the tiny models cannot be written"
export LLM_WASI_TINY=$work/tiny.gguf LLM_WASI_TOOLS=$work/tools.gguf LLM_WASI_DOUBLE=$work/double.onnx

# 1. The host's functions, without a component.
counted "the host" node --test --test-reporter=tap tests/javascript/host.test.mjs

# 2. The engine, with the configuration of the conformance cases.
mapfile -t flags < <(node -p 'require("./tests/conformance/cases.json").configuration.join("\n")')
does "llm-wasi configure --with-engine" \
  "$llm_wasi" configure "${flags[@]}" --with-engine -o "$work/engine.wasm"
does "transpile the engine" transpile "$work/engine.wasm" "$work/engine"
export LLM_WASI_ENGINE=$work/engine/engine.js
counted "the engine" node --test --test-reporter=tap tests/javascript/open.test.mjs
types() {
  local folder=$work/types
  mkdir -p "$folder/node_modules/@llm-wasi" && ln -s "$PWD/javascript" "$folder/node_modules/@llm-wasi/host" &&
    ln -s "$work/engine" "$folder/engine" &&
    cp tests/javascript/types.ts "$folder" && echo '{ "type": "module" }' >"$folder/package.json" &&
    node javascript/node_modules/typescript/bin/tsc --noEmit --strict --exactOptionalPropertyTypes --preserveSymlinks \
      --module nodenext --target es2022 --types node --typeRoots "$PWD/javascript/node_modules/@types" --lib es2022,esnext.disposable,dom "$folder/types.ts"
}
does "the typings" types
counted "conformance" node tests/conformance/javascript.mjs "$LLM_WASI_ENGINE"

# 3. The example.
rm -rf examples/hosts/javascript/engine
"$llm_wasi" configure --system-prompt "You answer in one short sentence." --temperature 0 --with-engine -o "$work/" &&
  transpile "$work/engine.wasm" examples/hosts/javascript/engine
if node examples/hosts/javascript/chat.mjs "$model" "What is the capital of France?" >"$work/answer" 2>"$work/told" &&
  grep -q Paris "$work/answer" && grep -qE '^[0-9]+ \+ [0-9]+ tokens, ' "$work/told"; then
  ok "the example answers: $(cat "$work/answer")"
else
  not_ok "the example answers" "$work/answer" "$work/told"
fi
node examples/hosts/javascript/chat.mjs absent.gguf "Anything?" >"$work/answer" 2>"$work/told"
if [ $? = 1 ] && grep -q "^the engine failed: .*expected a file at absent.gguf" "$work/told"; then
  ok "a model that is not there is told"
else
  not_ok "a model that is not there is told" "$work/answer" "$work/told"
fi

# 4. Legacy programs.
# same NAME PRELOAD ARGUMENT...: the program's output is that of `llm-wasi run`.
same() {
  local name=$1 preload=$2
  shift 2
  "$llm_wasi" componentize "fixtures/wasm/$name.wasm" -o "$work/$name.wasm" >"$work/log" 2>&1 &&
    transpile "$work/$name.wasm" "$work/$name" >>"$work/log" 2>&1 &&
    "$llm_wasi" run --env temp=0 --env n_predict=24 --nn-preload "$preload" "$work/$name.wasm" "$@" \
      >"$work/expected" 2>>"$work/log" &&
    temp=0 n_predict=24 node tests/javascript/command.mjs "$work/$name/$name.js" "$preload" "$@" \
      >"$work/found" 2>>"$work/log"
  if [ -s "$work/expected" ] && diff "$work/expected" "$work/found" >>"$work/log"; then
    ok "$name.wasm: $(tr '\n' ' ' <"$work/found")"
  else
    not_ok "$name.wasm" "$work/log"
  fi
}
same classify "double:ONNX:CPU:$LLM_WASI_DOUBLE" double 1,3 3
# A program that ends itself ends no more than itself.
node tests/javascript/command.mjs "$work/classify/classify.js" "double:ONNX:CPU:$LLM_WASI_DOUBLE" other 1,3 3 \
  >"$work/found" 2>"$work/log"
found=$?
"$llm_wasi" run --nn-preload "double:ONNX:CPU:$LLM_WASI_DOUBLE" "$work/classify.wasm" other 1,3 3 >"$work/expected" 2>&1
expected=$?
if [ "$found" = "$expected" ] && [ "$found" != 0 ] && ! grep -q "^Node.js v" "$work/log"; then
  ok "the status of a program that ends itself: $found"
else
  not_ok "the status of a program that ends itself: expected $expected, found $found" "$work/log"
fi
same chat "default:GGML:CPU:$model" default "Once upon a time"

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]

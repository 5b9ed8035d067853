#!/usr/bin/env bash
# A legacy program, written on the crate `wasmedge-wasi-nn`, becomes a component and answers with a real
# model; then tokens per second.
set -euo pipefail
cd "$(dirname "$0")/.."

prompt=${1:-"The capital of France is"}
tokens=${TOKENS:-32}
model=$(scripts/setup.sh model | tail -n 1)
component=target/demo/chat.component.wasm
mkdir -p target/demo

printf '==> llm-wasi componentize fixtures/wasm/chat.wasm\n' >&2
target/release/llm-wasi componentize fixtures/wasm/chat.wasm -o "$component"
printf '==> llm-wasi run --nn-preload default:GGML:AUTO:%s %s\n' "$(basename "$model")" "$component" >&2
printf '%s' "$prompt"
started=$(date +%s.%N)
target/release/llm-wasi run --env n_predict="$tokens" --env temp=0 \
  --nn-preload "default:GGML:AUTO:$model" "$component" default "$prompt" 2>target/demo/log
ended=$(date +%s.%N)
printf '\n'
generated=$(sed -n 's/.*"output_tokens": *\([0-9]*\).*/\1/p' target/demo/log | tail -n 1)
if [ -z "$generated" ]; then
  cat target/demo/log >&2
  printf 'the program printed no token counts\n' >&2
  exit 1
fi
awk -v n="$generated" -v s="$started" -v e="$ended" \
  'BEGIN { printf "%d tokens in %.1f s, the loading of the model included: %.1f tokens per second\n", n, e - s, n / (e - s) }'

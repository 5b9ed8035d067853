#!/usr/bin/env bash
# The adapters with tools and a host that are not ours: the released command lines of wasm-tools and of
# Wasmtime, with OpenVINO. See README.md beside this file. Prints `N passed, N failed` last.
set -uo pipefail
source "$(dirname "$0")/../../scripts/lib.sh"

llm_wasi=$target/release/llm-wasi
[ -x "$llm_wasi" ] || fail "expected $llm_wasi: run \`cargo build --release --package llm-wasi\`"
if ! tools=$(scripts/setup.sh tools) || ! orient=$(scripts/setup.sh orientation); then
  [ "${CI:-}" != true ] || fail "the tools are missing, and this is CI"
  say "skipped: the tools cannot be had"
  printf '0 passed, 0 failed\n'
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A model with the name and shape that the guests have as defaults; its input is called "0".
mkdir "$work/bench" "$work/adapters-portable" "$work/adapters-extended" "$work/named"
PYTHONPATH=$tools/python python3 - "$work/bench/model.xml" <<'PYTHON' || fail "OpenVINO cannot write a model"
import sys
import numpy
import openvino
from openvino import opset13 as op

x = op.parameter([1, 256], numpy.float32, name="0")
x.output(0).set_names({"0"})
y = op.add(op.multiply(x, op.constant(numpy.float32(3))), op.constant(numpy.float32(1)))
openvino.save_model(openvino.Model([y], [x], "bench"), sys.argv[1], compress_to_fp16=False)
PYTHON
source scripts/checks.sh

# same NAME EXPECTED FOUND: the files are equal and not empty.
same() {
  if [ -s "$2" ] && diff "$2" "$3" >"$work/diff" 2>&1; then ok "$1"; else not_ok "$1" "$work/diff" "$3.err"; fi
}

# wasmtime_run OUTPUT PROGRAM ARGS...: the output to OUTPUT, the errors to OUTPUT.err.
wasmtime_run() {
  local output=$1
  shift
  RUST_BACKTRACE=0 LD_LIBRARY_PATH=$tools/lib:$tools/python/openvino/libs \
    "$tools/bin/wasmtime" run -S nn -S "nn-graph=openvino::$orient" -S "nn-graph=openvino::$work/bench" \
    "$@" >"$output" 2>"$output.err"
  local status=$?
  # The exit status is part of what has to be equal.
  printf 'exit status %d\n' "$status" >>"$output"
}

# new MODULE OUTPUT [ADAPTER...]: `wasm-tools component new`, without a NAME= anywhere.
new() {
  local module=$1 output=$2 adapts=()
  shift 2
  for adapter; do adapts+=(--adapt "$adapter"); done
  "$tools/bin/wasm-tools" component new "$module" "${adapts[@]}" -o "$output" &&
    "$tools/bin/wasm-tools" validate "$output"
}

"$tools/bin/wasmtime" --version
"$tools/bin/wasm-tools" --version

# 1. The adapters, by wasm-tools' reading of their file names.
preview1=$(cargo metadata --format-version 1 --locked |
  python3 -c '
import json, os, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "wasi-preview1-component-adapter-provider":
        print(os.path.join(os.path.dirname(package["manifest_path"]), "artefacts"))')
preview1=$preview1/wasi_snapshot_preview1.command.wasm
for dialect in wasi-nn-2022-10 wasi-nn-2023-08-09 wasi-nn wasmedge wamr wamr-legacy; do
  for profile in portable extended; do
    does "adapter: $dialect, $profile" \
      "$llm_wasi" adapter --dialect "$dialect" --profile "$profile" -o "$work/adapters-$profile/"
  done
done
for adapter in "$work"/adapters-*/*.wasm; do
  does "wasm-tools validate $(basename "$adapter")" "$tools/bin/wasm-tools" validate "$adapter"
done
portable() { printf '%s' "$work/adapters-portable/$1.wasm"; }

does "wasm-tools component new: classify.wasm" \
  new fixtures/wasm/classify.wasm "$work/plain.wasm" "$(portable wasi_ephemeral_nn.wasi-nn)" "$preview1"
does "wasm-tools component new: chat.wasm, WasmEdge's dialect" \
  new fixtures/wasm/chat.wasm "$work/chat.wasm" "$(portable wasi_ephemeral_nn.wasmedge)" "$preview1"
does "wasm-tools component new: chat.wasm, extended" \
  new fixtures/wasm/chat.wasm "$work/chat-extended.wasm" \
  "$work/adapters-extended/wasi_ephemeral_nn.wasmedge.extended.wasm" "$preview1"
does "wasm-tools component new: wamr.wasm, module wasi_nn" \
  new fixtures/wasm/wamr.wasm "$work/wamr.wasm" "$(portable wasi_nn.wamr-legacy)" "$preview1"
does "wasm-tools component new: a module without WASI" \
  new fixtures/wat/spec_functions.wat "$work/wat.wasm" "$(portable wasi_ephemeral_nn.wasi-nn)"

# What a portable component imports besides WASI is wasi:nn alone.
if "$tools/bin/wasm-tools" component wit "$work/chat.wasm" | grep -E '^  import ' |
  grep -vE 'import wasi:(nn|cli|io|clocks|filesystem|random|sockets)/' >"$work/log"; then
  not_ok "a portable component imports only WASI" "$work/log"
else
  ok "a portable component imports only WASI"
fi

# 2. One program, one model, four ways: equal numbers. OpenVINO wants the input's exact name, `x`.
does "adapter: with --input-name 0=x" "$llm_wasi" adapter --dialect wasi-nn --input-name 0=x -o "$work/named/"
named=("$work"/named/*.wasm)
wasmtime_run "$work/core" fixtures/wasm/classify.wasm orient
if [ "$(grep -cE '^0\.[0-9]{6}$' "$work/core")" = 4 ] && grep -q '^exit status 0' "$work/core"; then
  ok "classify.wasm as a core module: $(grep -v exit "$work/core" | tr '\n' ' ')"
else
  not_ok "classify.wasm as a core module" "$work/core" "$work/core.err"
fi
does "llm-wasi componentize classify.wasm" \
  "$llm_wasi" componentize --input-name 0=x fixtures/wasm/classify.wasm -o "$work/ours.wasm"
wasmtime_run "$work/ours" "$work/ours.wasm" orient
same "equal numbers: component by llm-wasi" "$work/core" "$work/ours"
does "llm-wasi componentize --dialect wasmedge --profile portable classify.wasm" \
  "$llm_wasi" componentize --dialect wasmedge --profile portable --input-name 0=x \
  fixtures/wasm/classify.wasm -o "$work/wasmedge.wasm"
wasmtime_run "$work/wasmedge" "$work/wasmedge.wasm" orient
same "equal numbers: through WasmEdge's dialect" "$work/core" "$work/wasmedge"

does "wasm-tools component new: numbers.wat, named input" \
  new tests/independent/numbers.wat "$work/numbers.wasm" "${named[0]}" "$preview1"
wasmtime_run "$work/numbers-core" tests/independent/numbers.wat
wasmtime_run "$work/numbers-adapted" "$work/numbers.wasm"
same "equal bytes: component by wasm-tools" "$work/numbers-core" "$work/numbers-adapted"
python3 - "$work/core" "$work/numbers-adapted" <<'PYTHON' >"$work/log" 2>&1 &&
import struct, sys
text = open(sys.argv[1]).read().split("exit status")[0].split()
data = open(sys.argv[2], "rb").read()
assert data[16:] == b"exit status 0\n", data
found = [f"{value:.6f}" for value in struct.unpack("<4f", data[:16])]
assert found == text, (found, text)
PYTHON
  ok "they are classify.wasm's numbers" || not_ok "they are classify.wasm's numbers" "$work/log"
does "wasm-tools component new: go_pressure.wasm, named input" \
  new fixtures/wasm/go_pressure.wasm "$work/go.wasm" "${named[0]}" "$preview1"
wasmtime_run "$work/go-core" fixtures/wasm/go_pressure.wasm 20 orient 1,3,224,224
wasmtime_run "$work/go-adapted" "$work/go.wasm" 20 orient 1,3,224,224
same "equal output: go_pressure.wasm, component by wasm-tools" "$work/go-core" "$work/go-adapted"

# Without the name, OpenVINO refuses the input: an errno, not a trap.
does "llm-wasi componentize classify.wasm, no names" \
  "$llm_wasi" componentize fixtures/wasm/classify.wasm -o "$work/unnamed.wasm"
wasmtime_run "$work/unnamed" "$work/unnamed.wasm" orient
if ! grep -q '^exit status 0' "$work/unnamed" && grep -q '^classify: ' "$work/unnamed.err"; then
  ok "a wrong input name is an errno"
else
  not_ok "a wrong input name is an errno" "$work/unnamed" "$work/unnamed.err"
fi

# 3. Every call and every error of the six functions; what differs is in differences.diff, no more.
does "llm-wasi componentize spec_functions.wasm" \
  "$llm_wasi" componentize --input-name 0=x fixtures/wasm/spec_functions.wasm -o "$work/spec.wasm"
wasmtime_run "$work/spec-core" fixtures/wasm/spec_functions.wasm -e orient 1,3,224,224
wasmtime_run "$work/spec-adapted" "$work/spec.wasm" -e orient 1,3,224,224
diff "$work/spec-core" "$work/spec-adapted" | grep '^[<>]' >"$work/spec-diff"
if [ "${BLESS:-}" = 1 ]; then cp "$work/spec-diff" tests/independent/differences.diff; fi
same "spec_functions.wasm: the listed differences only" tests/independent/differences.diff "$work/spec-diff"

# 4. Guests that watch their heap: in Rust, C and Go. The last has its first inference before its first
# malloc, and takes no arguments.
for guest in pressure memory_pressure go_pressure memory_pressure_first; do
  name=(--input-name 0=x)
  arguments=(20 orient 1,3,224,224)
  if [ "$guest" = memory_pressure_first ]; then name=() arguments=(); fi
  does "llm-wasi componentize $guest.wasm" \
    "$llm_wasi" componentize "${name[@]}" "fixtures/wasm/$guest.wasm" -o "$work/$guest.wasm"
  wasmtime_run "$work/$guest-core" "fixtures/wasm/$guest.wasm" "${arguments[@]}"
  wasmtime_run "$work/$guest-adapted" "$work/$guest.wasm" "${arguments[@]}"
  same "equal output: $guest.wasm" "$work/$guest-core" "$work/$guest-adapted"
  if grep -q '^ok' "$work/$guest-adapted"; then
    ok "its heap is unharmed: $guest.wasm"
  else
    not_ok "its heap is unharmed: $guest.wasm" "$work/$guest-adapted" "$work/$guest-adapted.err"
  fi
done

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]

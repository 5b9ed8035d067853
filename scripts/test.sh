#!/usr/bin/env bash
# Everything a change has to pass. Prints how long each part took, what failed, and last `N passed, N failed`.
#
# A check whose tool cannot be had is skipped with a word; where CI=true it fails.
set -uo pipefail
source "$(dirname "$0")/lib.sh"

passed=0
failed=0
failures=()
times=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# count PASSED FAILED NAME
count() {
  passed=$((passed + $1))
  failed=$((failed + $2))
  [ "$2" = 0 ] || failures+=("$3")
}

# took SECONDS NAME
took() {
  times+=("$(printf '%5d s  %s' "$1" "$2")")
}

# check NAME COMMAND...: one check.
check() {
  local name=$1 start=$SECONDS
  shift
  say "$name: $*"
  if "$@"; then count 1 0 "$name"; else count 0 1 "$name"; fi
  took $((SECONDS - start)) "$name"
}

# lines REGEX: the sum of `N passed` and of `N failed` in the log's lines that match.
lines() {
  grep -E "$1" "$log" | awk '{ for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i - 1); if ($i ~ /^failed/) f += $(i - 1) } } END { print p + 0, f + 0 }'
}

# suite NAME REGEX COMMAND...: counts what the suite counts; a failure without a count is one.
suite() {
  local name=$1 regex=$2 start=$SECONDS status sums
  shift 2
  say "$name: $*"
  "$@" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  read -r -a sums <<<"$(lines "$regex")"
  if [ "$status" != 0 ] && [ "${sums[1]}" = 0 ]; then sums[1]=1; fi
  if [ "$status" = 0 ] && [ "${sums[0]}" = 0 ]; then
    say "$name: no test ran"
    sums[1]=1
  fi
  count "${sums[0]}" "${sums[1]}" "$name"
  took $((SECONDS - start)) "$name"
}

# The lints of this release are the ones that count; later ones know more.
lints=()
if [[ $(rustc --version) == "rustc 1.95."* ]]; then lints=(-D warnings); fi

scripts/setup.sh build || fail "the build's tools are missing"

# llama.cpp is compiled with two sets of features, which have most files in common: its build takes ccache where
# there is one.
if scripts/setup.sh ccache; then export CCACHE_DIR="$cache/ccache"; fi

# fetch PART...: gets what is needed later beside something else. What fails is tried again later, which says why.
fetch() {
  say "fetching meanwhile: $*"
  scripts/setup.sh "$@" >/dev/null 2>&1 &
}

check "format" cargo fmt --all --check
check "format of the guests" cargo fmt --all --manifest-path guests/Cargo.toml --check
check "documents" python3 scripts/check_docs.py
if deny=$(scripts/setup.sh deny); then
  # Not `advisories`: those change without the code; `make advisories` asks for them.
  check "licences and sources" "$deny" --log-level error check bans licenses sources
  check "licences and sources of the guests" "$deny" --log-level error --manifest-path guests/Cargo.toml --config deny.toml \
    check --allow license-not-encountered bans licenses sources
elif [ "${CI:-}" = true ]; then
  count 0 1 "licences and sources"
else
  say "skipped: licences and sources, for want of cargo-deny"
fi
fetch model onnxruntime openvino orientation-onnx orientation minilm magika templates
check "lints" cargo clippy --release --workspace --all-targets -- "${lints[@]}"
wait

# part VARIABLE PART: what scripts/setup.sh prints for the part, for the tests that need it.
part() {
  local value
  if value=$(scripts/setup.sh "$2"); then
    export "$1=$value"
  elif [ "${CI:-}" = true ]; then
    fail "$2 is missing"
  fi
}
start=$SECONDS
part LLM_WASI_SMOLLM2 model
part LLM_WASI_ONNXRUNTIME onnxruntime
part LLM_WASI_OPENVINO openvino
part LLM_WASI_ORIENTATION orientation-onnx
part LLM_WASI_ORIENTATION_IR orientation
part LLM_WASI_MINILM minilm
part LLM_WASI_MAGIKA magika
part LLM_WASI_TEMPLATES templates
took $((SECONDS - start)) "models and tools"

suite "Rust" "^test result:" cargo test --release --workspace --no-fail-fast
suite "Guests" "^test result:" cargo test --manifest-path guests/Cargo.toml --target-dir "$target/guests/native"
# The whole workspace each time: for a part of it Cargo builds llama.cpp again, with other features.
check "llm-wasi" cargo build --release --workspace
# The soak takes its time whatever else is done.
fetch componentize-js componentize-py go mdbook wac
check "soak" scripts/soak.sh 120
wait
if VULKAN_SDK=$(scripts/setup.sh vulkan) && VK_DRIVER_FILES=$(scripts/setup.sh vulkan-driver); then
  export VULKAN_SDK VK_DRIVER_FILES
  # Mesa's software driver, which llama.cpp takes only when it is named, with its compiled shaders kept.
  suite "Vulkan and images" "^test result:" env PATH="$VULKAN_SDK/bin:$PATH" GGML_VK_VISIBLE_DEVICES=0 \
    MESA_SHADER_CACHE_DIR="$cache/shaders" \
    cargo test --release --workspace --features llm-wasi-host/vulkan,llm-wasi-tests/images --no-fail-fast --test gpu --test images
elif [ "${CI:-}" = true ]; then
  count 0 1 "Vulkan and images"
else
  say "skipped: Vulkan and images, for want of its headers, glslc or Mesa's driver"
fi
suite "CI step" '^[0-9]+ passed, [0-9]+ failed' ci/test.sh
suite "JavaScript" '^[0-9]+ passed, [0-9]+ failed' tests/javascript/run.sh
suite "independent host and tools" '^[0-9]+ passed, [0-9]+ failed' tests/independent/run.sh
suite "example apps" '^[0-9]+ passed, [0-9]+ failed' tests/languages/run.sh
suite "book" '^[0-9]+ passed, [0-9]+ failed' tests/book/run.sh

echo
printf '%s\n' "${times[@]}"
for failure in "${failures[@]}"; do say "failed: $failure"; done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]

#!/usr/bin/env bash
# Tests ci/componentize.sh and the shell in action.yml as plain shell. Prints `N passed, N failed` last.
set -uo pipefail
source "$(dirname "$0")/../scripts/lib.sh"

root=$PWD
export LLM_WASI=${LLM_WASI:-$target/release/llm-wasi}
[ -x "$LLM_WASI" ] || fail "expected $LLM_WASI: run \`cargo build --release --package llm-wasi\`"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
mkdir -p "a folder/deep" bad
cp "$root/fixtures/wasm/classify.wasm" "a folder/deep/my module, 100%.wasm"
cp "$root/fixtures/wasm/chat.wasm" "a folder/chat.wasm"
cp "$root/fixtures/wat/only_load.wat" "a folder/only_load.wat"
head -c 100 "$root/fixtures/wasm/chat.wasm" >bad/truncated.wasm
printf 'no wasm' >"bad/no, wasm: 50%.wasm"
: >bad/empty.wasm
refusals="both_modules imported_memory memory64 no_memory not_a_function shared_memory two_memories
  unexported_memory unknown_function unknown_import_beside_nn wrong_parameter_type wrong_parameters wrong_result"
for name in $refusals; do cp "$root/fixtures/wat/$name.wat" bad/; done
passed=0
failed=0

# expect NAME COMMAND...: the command succeeds; else the last run's output is shown.
expect() {
  local name=$1
  shift
  if "$@"; then
    printf 'ok      %s\n' "$name"
    passed=$((passed + 1))
  else
    printf 'FAILED  %s\n' "$name"
    sed 's/^/        /' stdout stderr
    failed=$((failed + 1))
  fi
}

# step ARGS...: as on GitHub. Leaves stdout, stderr, summary, outputs and $status.
step() {
  rm -rf components out summary outputs
  GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY=summary GITHUB_OUTPUT=outputs \
    "$root/ci/componentize.sh" "$@" >stdout 2>stderr
  status=$?
}

is() { [ "$1" = "$2" ]; }
component() { [ "$(head -c 8 "$1" | od -An -tx1 | tr -d ' ')" = 0061736d0d000100 ]; }

for wrong in '--dialect bogus' '--wit bogus' '--input-name =x' '--profile bogus'; do
  # shellcheck disable=SC2086
  step $wrong --fail-on-error false 'a folder/chat.wasm'
  expect "wrong usage: $wrong: exit status 2" is "$status" 2
  expect "wrong usage: $wrong: an annotation" grep -q '^::error::.*invalid value' stdout
done
step --help
expect "help: exit status 0" is "$status" 0
expect "help: on standard output" grep -q '^Usage: ci/componentize.sh' stdout
step 'a folder/**/*.wa*'
expect "good modules: exit status 0" is "$status" 0
expect "good modules: no annotations" bash -c '! grep -q "^::" stdout'
expect "good modules: a path with blanks, a comma and a percent sign" \
  component "components/a folder/deep/my module, 100%.component.wasm"
expect "good modules: binary" component "components/a folder/chat.component.wasm"
expect "good modules: text" component "components/a folder/only_load.component.wasm"
expect "good modules: the summary counts" grep -q '^3 adapted, 0 refused, by llm-wasi ' summary
expect "good modules: the summary's row" grep -qF \
  '| a folder/chat.wasm | ✅ | can be adapted: dialect wasmedge, profile extended | components/a folder/chat.component.wasm |' summary
expect "good modules: outputs" is "$(tr '\n' ' ' <outputs)" "adapted=3 refused=0 output=components "

step 'bad/*' 'a folder/chat.wasm'
expect "bad modules: exit status 1" is "$status" 1
expect "bad modules: one annotation for each" is "$(grep -c '^::error file=bad/' stdout)" "$(find bad -type f | wc -l)"
expect "bad modules: the reason" grep -qF \
  '::error file=bad/unknown_import_beside_nn.wat::imports wasmedge_tensorflow.create_session, which is not wasi-nn' stdout
expect "bad modules: properties are escaped" grep -q '^::error file=bad/no%2C wasm%3A 50%25.wasm::' stdout
for name in $refusals; do
  reason=$("$LLM_WASI" check "bad/$name.wat")
  reason=${reason#"bad/$name.wat: error: "}
  expect "bad modules: $name" grep -qxF "::error file=bad/$name.wat::${reason//%/%25}" stdout
done
expect "bad modules: the good one is made all the same" component "components/a folder/chat.component.wasm"
expect "bad modules: no other component" is "$(find components -type f | wc -l)" 1
expect "bad modules: the summary has a row for each" is "$(grep -c '^| bad/.* | ❌ | .* | | |$' summary)" "$(find bad -type f | wc -l)"
expect "bad modules: the summary's rows have five cells" bash -c \
  '! sed "s/\\\\|//g" summary | grep "^|" | awk -F "|" "NF != 7" | grep .'

step --fail-on-error false bad/no_memory.wat
expect "fail-on-error false: exit status 0" is "$status" 0
expect "fail-on-error false: a warning" grep -q '^::warning file=bad/no_memory.wat::' stdout
expect "fail-on-error false: outputs" grep -qx refused=1 outputs

step 'nothing/*.wasm'
expect "no match: exit status 2" is "$status" 2
expect "no match: an error" grep -qF '::error::no file matches nothing/*.wasm' stdout
step missing.wasm
expect "a missing file: exit status 2" is "$status" 2
step
expect "no pattern: exit status 2" is "$status" 2
step --wrong 'a folder/chat.wasm'
expect "an unknown option: exit status 2" is "$status" 2

cp "a folder/chat.wasm" "a folder/only_load.wasm"
step 'a folder/only_load.*'
expect "two modules, one name: exit status 1" is "$status" 1
expect "two modules, one name: said so" grep -q '^::error file=a folder/only_load.wat::its component would replace' stdout
rm "a folder/only_load.wasm"

step --output out --profile portable --dialect wasmedge --input-name 0=data --wit=2024-08-19 "$PWD/a folder/chat.wasm"
expect "options: exit status 0" is "$status" 0
expect "options: an absolute path" component "out/a folder/chat.component.wasm"
expect "options: they arrive" bash -c '"$LLM_WASI" inspect "out/a folder/chat.component.wasm" | grep -q 0.2.0-rc-2024-08-19'
expect "options: portable" bash -c '! "$LLM_WASI" inspect "out/a folder/chat.component.wasm" | grep -q llm-wasi:nn'
step --dialect no-such-dialect "a folder/chat.wasm"
expect "a wrong dialect: exit status 2" is "$status" 2
expect "a wrong dialect: named" grep -q 'no-such-dialect' stdout

env -u GITHUB_ACTIONS "$root/ci/componentize.sh" -o out bad/no_memory.wat >stdout 2>stderr
expect "outside GitHub: exit status 1" is $? 1
expect "outside GitHub: plain words" grep -q '^bad/no_memory.wat: error: the module has no memory' stdout
LLM_WASI=$work/none "$root/ci/componentize.sh" "a folder/chat.wasm" >stdout 2>stderr
expect "no program: exit status 2" is $? 2

# The action's own lines of shell.
sed -n '/^      run: |/,/^    - /{s/^        //;/^      run/d;/^    - /d;p}' "$root/action.yml" >run.sh
rm -rf components out summary outputs
MODULES=$'a folder/deep/*.wasm\n\na folder/chat.wasm\n' OUTPUT=out DIALECT=wasmedge PROFILE=portable WIT='' \
  INPUT_NAMES=$'0=my input\n1=b' ZERO_MAX=true FAIL_ON_ERROR=true ACTION_PATH=$root \
  GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY=summary GITHUB_OUTPUT=outputs bash -e run.sh >stdout 2>stderr
expect "the action: exit status 0" is $? 0
expect "the action: outputs" is "$(tr '\n' ' ' <outputs)" "adapted=2 refused=0 output=out "
expect "the action: components" component "out/a folder/deep/my module, 100%.component.wasm"

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]

#!/usr/bin/env bash
# The example apps in each language: built, composed with the engine, and run with a model. See
# examples/README.md. Prints sizes, and `N passed, N failed` last.
set -uo pipefail
source "$(dirname "$0")/../../scripts/lib.sh"

llm_wasi=$target/release/llm-wasi
[ -x "$llm_wasi" ] || fail "expected $llm_wasi: run \`cargo build --release --package llm-wasi\`"
if ! { model=$(scripts/setup.sh model) && tools=$(scripts/setup.sh tools) && wac=$(scripts/setup.sh wac) &&
  scripts/setup.sh go componentize-js componentize-py >/dev/null; }; then
  [ "${CI:-}" != true ] || fail "the tools are missing, and this is CI"
  say "skipped: the tools cannot be had"
  printf '0 passed, 0 failed\n'
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0
question="What is the capital of France?"
# Each language with its source and what examples/build.sh makes of it.
rust=(examples/rust/src/main.rs examples/wasm/ask.wasm)
c=(examples/c/ask.c target/guests/examples/ask-c.wasm)
go=(examples/go/ask.go target/examples/ask-go.wasm)
javascript=(examples/javascript/ask.js target/examples/ask-javascript.wasm)
python=(examples/python/ask.py target/examples/ask-python.wasm)

# expect NAME COMMAND...: the command succeeds; else the last lines of what it prints, and of what the app
# printed last.
expect() {
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    printf 'ok      %s\n' "$name"
    passed=$((passed + 1))
  else
    printf 'FAILED  %s\n' "$name"
    failed=$((failed + 1))
    for file in "$work/log" "$work/answer" "$work/answer.err"; do
      [ ! -s "$file" ] || tail -n 20 "$file" | sed 's/^/        /'
    done
  fi
}

# ask COMPONENT: runs it with the question. What it prints goes to $work/answer and .err, its exit status to
# .status, and how many times there was something to read on its standard output to .reads.
ask() {
  rm -f "$work"/answer*
  python3 - "$work/answer" "$llm_wasi" run --nn-preload "default:GGML:CPU:$model" "$1" "$question" <<'PYTHON'
import os, pathlib, subprocess, sys

answer, *command = sys.argv[1:]
with open(answer + ".err", "wb") as errors:
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
pieces = list(iter(lambda: os.read(program.stdout.fileno(), 65536), b""))
pathlib.Path(answer).write_bytes(b"".join(pieces))
pathlib.Path(answer + ".status").write_text(str(program.wait()))
pathlib.Path(answer + ".reads").write_text(str(len(pieces)))
PYTHON
}

status() { [ "$(cat "$work/answer.status")" = "$1" ]; }
streamed() { [ "$(cat "$work/answer.reads")" -gt 2 ]; }
told() { grep -Eiq "$1" "$work/answer.err"; }
short() { [ -s "$1" ] && [ "$(wc -l <"$1")" -le 60 ]; }
size() { wc -c <"$1" | tr -d ' '; }

# imports COMPONENT: the language interface among them, and nothing beside wasi:nn, llm-wasi:nn and WASI.
imports() {
  "$tools/bin/wasm-tools" component wit "$1" | grep -E '^  import ' >"$work/imports"
  grep -q 'import llm-wasi:nn/language@' "$work/imports" && ! grep -vE 'import (wasi:[a-z]+|llm-wasi:nn)/' "$work/imports"
}

"$llm_wasi" configure --temperature 0 --max-tokens 24 --system-prompt "You are a helpful assistant." \
  -o "$work/config.wasm" || fail "no configuration"

for language in rust c go javascript python; do
  declare -n app=$language
  source=${app[0]} wasm=${app[1]}
  whole=$work/$language.whole.wasm
  expect "$language: $source has at most 60 lines" short "$source"
  case $language in
  # Other compilers give other bytes, so the committed one is what runs.
  rust) ;;
  # With Debian 12's compiler, the committed bytes.
  c) expect "$language: builds, as committed" examples/build.sh --check c ;;
  *) expect "$language: builds" examples/build.sh "$language" ;;
  esac
  expect "$language: a component" "$llm_wasi" componentize "$wasm" -o "$work/$language.wasm"
  expect "$language: llm-wasi compose" "$llm_wasi" compose "$wasm" --configuration "$work/config.wasm" -o "$whole"
  expect "$language: imports wasi:nn, llm-wasi:nn and WASI alone" imports "$whole"
  ask "$whole"
  expect "$language: exit status 0" status 0
  expect "$language: usage on standard error" told '^[0-9]+ tokens, [0-9.]+ per second$'
  expect "$language: answers piece by piece" streamed
  if [ "$language" = rust ]; then
    cp "$work/answer" "$work/expected"
    expect "$language: names Paris" grep -q Paris "$work/answer"
  else
    expect "$language: the same answer as in Rust" cmp "$work/expected" "$work/answer"
  fi
  expect "$language: llm-wasi compose --model" "$llm_wasi" compose "$wasm" --model other -o "$whole.other"
  ask "$whole.other"
  expect "$language: no such model: exit status 1" status 1
  expect "$language: no such model: in words" told '^error: .*model ?not ?found.*other.*default'
  printf 'size    %s: as built %s bytes, component %s, with the engine %s\n' \
    "$language" "$(size "$wasm")" "$(size "$work/$language.wasm")" "$(size "$whole")"
done

# The same by wac, in two steps.
expect "wac: the engine and its configuration" \
  "$wac" plug engine/engine.wasm --plug "$work/config.wasm" -o "$work/engine.wasm"
for language in rust c go javascript python; do
  expect "wac: $language" "$wac" plug "$work/$language.wasm" --plug "$work/engine.wasm" -o "$work/$language.wac.wasm"
  expect "wac: $language: imports wasi:nn, llm-wasi:nn and WASI alone" imports "$work/$language.wac.wasm"
done
# Two tell enough: a C program and a Go program differ most in how they begin.
for language in c go; do
  ask "$work/$language.wac.wasm"
  expect "wac: $language: exit status 0" status 0
  expect "wac: $language: the same answer" cmp "$work/expected" "$work/answer"
done

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]

#!/usr/bin/env bash
# A legacy program, written on the crate `wasmedge-wasi-nn`, becomes a component and answers with a real
# model; then tokens per second. Then an app of the LLM interface asks the same model through the
# engine, and a program has a short chat with it.
#
# Usage: scripts/demo.sh [QUESTION]     TOKENS=128 is the longest answer
set -euo pipefail
source "$(dirname "$0")/lib.sh"

question=${1:-"Explain in two sentences why the sky is blue."}
export TOKENS=${TOKENS:-128}

scripts/setup.sh build
say "building llm-wasi (the first time llama.cpp too: 5 to 10 minutes on two cores)"
cargo build --release --workspace --bins
model=$(scripts/setup.sh model)
llm_wasi=$target/release/llm-wasi
mkdir -p "$target/demo"
component=$target/demo/chat.component.wasm

say "llm-wasi componentize fixtures/wasm/chat.wasm -o chat.component.wasm"
"$llm_wasi" componentize fixtures/wasm/chat.wasm -o "$component"
say "llm-wasi run --nn-preload default:GGML:AUTO:$(basename "$model") chat.component.wasm default \"…\""
printf '\n%s\n\n' "$question"
python3 - "$llm_wasi" "$component" "$model" "$question" <<'PYTHON'
"""Passes the answer on as it comes, and takes the time between its first and its last piece."""
import json, os, subprocess, sys, time

llm_wasi, component, model, question = sys.argv[1:]
# The form in which this model was taught to talk.
prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
command = [
    llm_wasi, "run", "--env", f"n_predict={os.environ['TOKENS']}", "--env", "temp=0",
    "--nn-preload", f"default:GGML:AUTO:{model}", component, "default", prompt,
]
started = time.monotonic()
program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
waiting = sys.stderr.isatty()
if waiting:
    print("loading the model …", end="", file=sys.stderr, flush=True)
first = last = None
while piece := os.read(program.stdout.fileno(), 4096):
    if first is None:
        first = time.monotonic()
        if waiting:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
    if piece != b"\n":  # the line's end after the answer is the program's own
        last = time.monotonic()
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
notes = program.stderr.read().decode()
metadata = [line for line in notes.splitlines() if line.startswith("[metadata] ")]
if program.wait() != 0 or not metadata or last is None:
    sys.exit(f"{notes}\nthe program ended with status {program.returncode} and this answer; see above")
tokens = json.loads(metadata[-1].removeprefix("[metadata] "))["output_tokens"]
print(f"\nThe first token came after {first - started:.2f} s, the loading of the model included;")
print(f"{tokens} tokens in all, {(tokens - 1) / max(last - first, 1e-9):.1f} tokens per second after the first.")
PYTHON

whole=$target/demo/ask.whole.wasm
say "llm-wasi compose examples/wasm/ask.wasm --system-prompt \"…\" -o ask.whole.wasm"
"$llm_wasi" compose examples/wasm/ask.wasm --temperature 0 --max-tokens 64 \
  --system-prompt "You answer in one short sentence." -o "$whole"
say "llm-wasi run --nn-preload default:GGML:AUTO:$(basename "$model") ask.whole.wasm \"What is the capital of France?\""
"$llm_wasi" run --nn-preload "default:GGML:AUTO:$model" "$whole" "What is the capital of France?"

say "ask-host $(basename "$model") \"…\" \"…\": a program that talks with the engine; only what is new is evaluated"
"$target/release/ask-host" "$model" "What is the capital of France?" "And what is the capital of Italy?"

#!/usr/bin/env bash
# Runs the Vulkan build with SmolLM2 on this machine's GPU: the tests of host/tests/vulkan.rs, and a legacy
# program on CPU and GPU, whose texts are compared and timed. Adds a row to docs/gpu.md.
#
# Usage: tests/gpu.sh [--print] [--tokens N]
#   --print     shows the row and leaves docs/gpu.md alone
#   --tokens N  generates N tokens instead of 256, for a device that is none, such as Mesa's software driver
#
# It fails where llama.cpp finds no GPU.
set -euo pipefail
source "$(dirname "$0")/../scripts/lib.sh"

print=false
tokens=256
while [ $# -gt 0 ]; do
  case $1 in
  --print) print=true ;;
  --tokens)
    shift
    tokens=${1:?expected a number after --tokens}
    ;;
  *)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0" >&2
    exit 2
    ;;
  esac
  shift
done

scripts/setup.sh build
model=$(scripts/setup.sh model)
VULKAN_SDK=$(scripts/setup.sh vulkan)
export VULKAN_SDK PATH=$VULKAN_SDK/bin:$PATH CI=true LLM_WASI_SMOLLM2=$model

say "building llm-wasi and its tests with Vulkan"
cargo build --release --workspace --bins --features llm-wasi/vulkan,llm-wasi/images
llm_wasi=$target/release/llm-wasi
"$llm_wasi" devices
cargo test --release --workspace --features llm-wasi/vulkan,llm-wasi/images --test vulkan

say "SmolLM2 on CPU and GPU"
python3 - "$llm_wasi" "$model" "$print" "$tokens" <<'PYTHON'
"""Runs a program on both, and writes what it saw."""
import json, os, pathlib, subprocess, sys, time

llm_wasi, model, print_only = sys.argv[1], sys.argv[2], sys.argv[3] == "true"
TOKENS = int(sys.argv[4])
PROMPT = "<|im_start|>user\nTell me a long story about a lighthouse.<|im_end|>\n<|im_start|>assistant\n"


def run(target):
    """The text, and tokens per second after the first one."""
    command = [
        llm_wasi, "run", "--env", "temp=0", "--env", f"n_predict={TOKENS}", "--env", "ctx_size=1024",
        "--nn-preload", f"default:GGML:{target}:{model}", "fixtures/wasm/chat.wasm", "default", PROMPT,
    ]
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    text, times = b"", []
    while piece := os.read(program.stdout.fileno(), 4096):
        # The end of the line behind the text does not count.
        if piece.strip(b"\n"):
            times.append(time.monotonic())
        text += piece
    notes = program.stderr.read().decode()
    if program.wait() != 0:
        sys.exit(f"{target}: the program ended with {program.returncode}\n{notes}")
    metadata = [line for line in notes.splitlines() if line.startswith("[metadata] ")][-1]
    tokens = json.loads(metadata.removeprefix("[metadata] "))["output_tokens"]
    if len(times) < 2:
        sys.exit(f"{target}: the text came at once: generate more tokens than {TOKENS} to measure")
    return text, (tokens - 1) / (times[-1] - times[0])


devices = json.loads(subprocess.check_output([llm_wasi, "devices", "--json"]))
llama = [backend for backend in devices["backends"] if "GGML" in backend["encodings"]][0]["devices"]
gpu = [device for device in llama if "GPU" in device["kind"]]
cpu = [device for device in llama if device["kind"] == "CPU"]
if not gpu:
    sys.exit("llama.cpp finds no GPU")
run("GPU")  # compiles shaders, which the driver keeps
best = {}
for target in ["CPU", "GPU"] * 3:
    text, rate = run(target)
    known, fastest = best.get(target, (text, 0.0))
    if known != text:
        sys.exit(f"{target}: two runs gave different texts")
    best[target] = (text, max(rate, fastest))
same = os.path.commonprefix([best["CPU"][0], best["GPU"][0]])
agree = "all" if best["CPU"][0] == best["GPU"][0] else f"the first {len(same.decode(errors='ignore'))} characters"
row = (
    f"| {gpu[0]['description']} | {cpu[0]['description']}, {os.cpu_count()} processors | "
    f"{best['CPU'][1]:.0f} | {best['GPU'][1]:.0f} | {agree} |"
)
print(row)
if not print_only:
    page = pathlib.Path("docs/gpu.md")
    text = page.read_text()
    marker = "<!-- END measured -->"
    if marker not in text:
        sys.exit(f"{page} has no line {marker}")
    page.write_text(text.replace(marker, f"{row}\n{marker}"))
PYTHON

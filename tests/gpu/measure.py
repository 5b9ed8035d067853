"""Runs a legacy program with SmolLM2 on CPU and GPU, and prints a row for docs/gpu.md. Takes the number of tokens."""

import json
import os
import subprocess
import sys
import time

TOKENS = int(sys.argv[1])
PROMPT = "<|im_start|>user\nTell me a long story about a lighthouse.<|im_end|>\n<|im_start|>assistant\n"
BACKENDS = {"Vulkan": "Vulkan", "CUDA": "CUDA", "MTL": "Metal", "Metal": "Metal"}


def run(target):
    """The text, and tokens per second after the first one."""
    command = [
        "./llm-wasi", "run", "--env", "temp=0", "--env", f"n_predict={TOKENS}", "--env", "ctx_size=1024",
        "--nn-preload", f"default:GGML:{target}:model.gguf", "chat.wasm", "default", PROMPT,
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


devices = json.loads(subprocess.check_output(["./llm-wasi", "devices", "--json"]))
llama = [backend for backend in devices["backends"] if "GGML" in backend["encodings"]][0]["devices"]
gpu = [device for device in llama if "GPU" in device["kind"]]
cpu = [device for device in llama if device["kind"] == "CPU"]
if not gpu:
    sys.exit("llama.cpp finds no GPU")
backend = BACKENDS[gpu[0]["name"].rstrip("0123456789")]
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
print(
    f"| {gpu[0]['description']} | {backend} | {cpu[0]['description']}, {os.cpu_count()} processors | "
    f"{best['CPU'][1]:.0f} | {best['GPU'][1]:.0f} | {agree} |"
)

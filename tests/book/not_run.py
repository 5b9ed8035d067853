"""The commands of the pages that are not run, and what covers each: long builds, and what the test itself is part of."""

NOT_RUN = {
    "make build": "scripts/test.sh builds the same before",
    "make test": "this is a part of it",
    "make demo": "start.md has its steps",
    "make bench": "measures for many minutes; scripts/test.sh builds it, and bench/tests tests what it measures",
    "cargo install --locked --path cli": "scripts/test.sh builds the same program",
    "cargo install --locked --path cli --features vulkan": "scripts/test.sh builds with the feature and tests it",
    "cargo install --locked --path cli --features images": "scripts/test.sh builds with the feature and tests it",
    "llm-wasi run --dir .:. --env mmproj=mmproj.gguf --env image=monalisa.jpg "
    "--nn-preload default:GGML:AUTO:model.gguf llava.wasm default": "host/tests/images.rs, in a build with images",
    "pip install onnxruntime": "scripts/setup.sh onnxruntime fetches the same package with pip",
}

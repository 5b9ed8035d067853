"""The commands of the pages that are not run, and what covers each: long builds, and what the test itself is part of."""

# The commands of llm.md for other languages: they have the paths of a project of the reader's own.
LANGUAGES = [
    "cargo run --manifest-path guests/Cargo.toml --package bindings -- c wit llm-wasi:llm/app bindings",
    "clang --target=wasm32-wasi --sysroot=/usr -nostartfiles -Os -std=gnu11 -Ibindings -o ask.wasm "
    "examples/c/ask.c examples/c/start.c bindings/app.c bindings/app_component_type.o",
    "cargo run --manifest-path guests/Cargo.toml --package bindings -- go wit ask bindings",
    'cp -r "$pkg" bindings/pkg',
    "mkdir bindings/export_wasi_cli_run && cp examples/go/ask.go bindings/export_wasi_cli_run/",
    "(cd bindings && go mod edit -replace go.bytecodealliance.org/pkg=./pkg && GOOS=wasip1 GOARCH=wasm "
    'GOFLAGS=-mod=mod go build -buildmode=c-shared -ldflags="-s -w -checklinkname=0" -o ask.wasm .)',
    "wasm-tools component embed --world ask wit bindings/ask.wasm -o ask.wasm",
    "npm ci --ignore-scripts --prefix examples/javascript",
    "examples/javascript/node_modules/.bin/componentize-js examples/javascript/ask.js --wit wit --world-name "
    "ask -d random clocks http fetch-event -o ask.wasm",
    "componentize-py --wit-path wit --world ask componentize --python-path examples/python ask -o ask.wasm",
    "wac plug engine/engine.wasm --plug config.wasm -o engine.configured.wasm",
    "wac plug ask.component.wasm --plug engine.configured.wasm -o ask.whole.wasm",
]

NOT_RUN = {
    "make build": "scripts/test.sh builds the same before",
    "make test": "this is a part of it",
    "make demo": "start.md has its steps",
    "make fuzz CASES=4000": "runs for minutes; the same tests run shortly with cargo test",
    "LLM_WASI_SEED=2026 LLM_WASI_FUZZ_CASES=180000 cargo test --release --workspace --test calls models_that_misbehave "
    "-- --nocapture": "runs for minutes; the same test runs shortly with cargo test",
    "scripts/soak.sh": "runs for an hour; scripts/test.sh runs it for 120 seconds",
    "make bench": "measures for many minutes; scripts/test.sh builds it, and bench/tests tests what it measures",
    "cargo install --locked --path cli": "scripts/test.sh builds the same program",
    "cargo install --locked --path cli --features vulkan": "scripts/test.sh builds with the feature and tests it",
    "export CUDA_PATH=$(scripts/setup.sh cuda) && export CUDA_LIBRARY_PATH=$CUDA_PATH PATH=$CUDA_PATH/bin:$PATH": "560 MB for a long build",
    "CMAKE_CUDA_ARCHITECTURES=89-real cargo install --locked --path cli --features cuda": "takes long to build",
    "cargo install --locked --path cli --features images": "scripts/test.sh builds with the feature and tests it",
    "llm-wasi run --dir .:. --env mmproj=mmproj.gguf --env image=monalisa.jpg "
    "--nn-preload default:GGML:AUTO:model.gguf llava.wasm default": "host/tests/images.rs, in a build with images",
    "llm-wasi run --nn-preload default:GGML:AUTO:model.gguf:mmproj.gguf app.wasm":
    "tests/tests/images.rs, in a build with images",
    "cargo build --release --workspace": "scripts/test.sh runs it before",
    "pip install onnxruntime": "scripts/setup.sh onnxruntime fetches the same package with pip",
}
NOT_RUN |= dict.fromkeys(LANGUAGES, "examples/build.sh has the same, and tests/languages/run.sh runs it")

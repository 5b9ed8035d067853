#!/bin/sh
# Builds the example apps.
#
#   examples/build.sh [--check] [LANGUAGE...]    LANGUAGE: rust, c, go, javascript, python (default: all)
#
# The apps in Rust and C are small, so their wasm is committed in examples/wasm; --check leaves it alone,
# and exits with 1 if another build gives other bytes. The others go to target/examples. What is missing
# is installed (the script says so). The build's own files go to ${GUESTS_TARGET:-target/guests}.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
. "$root/scripts/wasm.sh"

target=${GUESTS_TARGET:-$root/target/guests}
large=$root/target/examples
check=false
languages=
for arg; do
    case $arg in
    --check) check=true ;;
    rust | c | go | javascript | python) languages="$languages $arg" ;;
    -h | --help)
        sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0"
        exit 0
        ;;
    *)
        echo "build.sh: expected --check, rust, c, go, javascript or python, found \`$arg\`" >&2
        exit 2
        ;;
    esac
done
: "${languages:=rust c go javascript python}"
out=$target/examples
rm -rf "$out"
mkdir -p "$out" "$large"

setup() { "$root/scripts/setup.sh" "$1"; }

# bindings LANGUAGE WORLD: writes the bindings of a world into a new folder, $generated.
bindings() {
    generated=$target/bindings/$1
    rm -rf "$generated"
    cargo run --quiet --locked --manifest-path "$root/guests/Cargo.toml" --target-dir "$target/native" \
        --package bindings -- "$1" "$wit" "$2" "$generated"
}

# The WIT packages in one folder, as the tools want them.
wit=$target/wit
rm -rf "$wit"
mkdir -p "$wit/deps/llm" "$wit/deps/wasi-cli" "$wit/deps/wasi-io"
cp "$here/wit/ask.wit" "$wit/"
cp "$root/wit/llm.wit" "$wit/deps/llm/"
cp "$here/wit/wasi-cli.wit" "$wit/deps/wasi-cli/"
cp "$root/wit/wasi-io.wit" "$wit/deps/wasi-io/poll.wit"
cp "$here/wit/wasi-io.wit" "$wit/deps/wasi-io/streams.wit"

build_rust() { rust_wasm "$root/guests" wasm32-wasip1 ask guide; }

build_c() {
    need clang lld wasi-libc libclang-rt-14-dev-wasm32
    bindings c llm-wasi:llm/app
    clang --target=wasm32-wasi --sysroot=/usr -nostartfiles -Os -std=gnu11 -Wall -Wextra -Werror -s \
        -ffile-prefix-map="$here=/examples" -ffile-prefix-map="$generated=/bindings" -I"$generated" \
        -o "$out/ask-c.wasm" "$here/c/ask.c" "$here/c/start.c" "$generated/app.c" "$generated/app_component_type.o"
}

# Go finds its part of the bindings beside them, and not where a module proxy is: the crate brings it along.
build_go() {
    go=$(setup go)
    tools=$(setup tools)
    bindings go ask
    cp -r "$(crate wit-bindgen-go)/src/pkg" "$generated/pkg"
    mkdir "$generated/export_wasi_cli_run"
    cp "$here/go/ask.go" "$generated/export_wasi_cli_run/"
    (
        cd "$generated"
        export GOOS=wasip1 GOARCH=wasm GOPROXY=off GOFLAGS=-mod=mod GOTOOLCHAIN=local GOWORK=off GOCACHE="$target/go"
        "$go" mod edit -replace go.bytecodealliance.org/pkg=./pkg
        # The bindings' allocator takes memory from the runtime's `sbrk`, a name that the linker guards.
        "$go" build -buildmode=c-shared -trimpath -buildvcs=false -ldflags="-s -w -buildid= -checklinkname=0" \
            -o ask.wasm .
    )
    "$tools/bin/wasm-tools" component embed --world ask "$wit" "$generated/ask.wasm" -o "$large/ask-go.wasm"
}

build_javascript() {
    node=$(setup node)
    componentize=$(setup componentize-js)
    PATH="$node:$PATH" "$componentize" "$here/javascript/ask.js" --wit "$wit" --world-name ask \
        -d random clocks http fetch-event -o "$large/ask-javascript.wasm"
}

build_python() {
    componentize=$(setup componentize-py)
    mkdir -p "$target/python"
    # A copy, since the tool leaves compiled files beside the source.
    cp "$here/python/ask.py" "$target/python/"
    "$componentize" --quiet --wit-path "$wit" --world ask componentize --python-path "$target/python" ask \
        -o "$large/ask-python.wasm"
}

# crate NAME: the folder of a crate's source.
crate() {
    cargo metadata --format-version 1 --locked --manifest-path "$root/guests/Cargo.toml" | python3 -c '
import json, os, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == sys.argv[1]:
        print(os.path.dirname(package["manifest_path"]))' "$1"
}

for language in $languages; do
    rm -f "$large/ask-$language.wasm"
    "build_$language"
done

for file in "$large"/*.wasm; do
    [ ! -e "$file" ] || printf '%9d  target/examples/%s\n' "$(wc -c <"$file")" "$(basename "$file")"
done
if ls "$out"/*.wasm >/dev/null 2>&1; then finish "$here/wasm" "$check"; fi

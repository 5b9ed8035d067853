# Sourced by the scripts that build committed wasm, fixtures/build.sh and guests/build.sh.
#
# They set `here` (the sources' folder), `target` (the build's own files), `out` (the new wasm) and `check`,
# most of them by `begin`, and call `finish` at the end. What is missing is installed with apt-get.
# shellcheck shell=sh

say() { echo "build.sh: $*" >&2; }

# begin NAME ARGUMENT...: reads the arguments of a script that builds from the guests' workspace, into a
# folder of that name.
begin() {
    target=${GUESTS_TARGET:-$root/target/guests}
    check=false
    out=$target/$1
    shift
    for arg; do
        case $arg in
        --check) check=true ;;
        -h | --help)
            sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0"
            exit 0
            ;;
        *)
            echo "build.sh: expected --check, found \`$arg\`" >&2
            exit 2
            ;;
        esac
    done
    rm -rf "$out"
    mkdir -p "$out"
}

# as_root COMMAND...: through sudo where that is needed.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# need PACKAGE...: installs the Debian packages that are not there.
need() {
    missing=
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
            missing="$missing $package"
    done
    [ -z "$missing" ] && return
    if ! command -v apt-get >/dev/null; then
        say "needs the Debian packages$missing (or what they hold), and there is no apt-get"
        exit 1
    fi
    say "installing$missing"
    # shellcheck disable=SC2086
    as_root apt-get install -y --no-install-recommends $missing >/dev/null ||
        { as_root apt-get update >/dev/null && as_root apt-get install -y --no-install-recommends $missing >/dev/null; }
}

# rust_wasm WORKSPACE TRIPLE PACKAGE...: builds packages of a cargo workspace.
#
# Those are commands, or, if `kind` is `reactor`, one library: its manifest says nothing of that, since
# linkers of other targets do not take the names that components export.
#
# With rustc's own standard library for the target, or else with Debian's rustc-web, which builds that
# as well: with panic = "abort", and linked with Debian's wasi-libc.
rust_wasm() (
    workspace=$1 triple=$2
    shift 2
    packages=
    for package; do packages="$packages -p $package"; done
    build=build library_type=
    if [ "${kind:-}" = reactor ]; then build=rustc library_type="--lib --crate-type cdylib"; fi

    # Messages of panics name source files: no path of this machine may get into the wasm.
    crates=${CARGO_HOME:-$HOME/.cargo}/registry/src
    remap="--remap-path-prefix=$here=/$(basename "$here") --remap-path-prefix=$target=/target"
    for registry in "$crates"/*; do
        remap="$remap --remap-path-prefix=$registry=/crates"
    done
    export CARGO_TARGET_DIR="$target/rust"
    # Cargo's own settings for other builds stay out of this one.
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER

    cd "$workspace"
    if has_target "$triple"; then
        say "Rust for $triple: $(rustc --version) with its own standard library"
        # shellcheck disable=SC2086
        RUSTFLAGS="$remap" cargo $build --locked --release --target "$triple" $packages $library_type
    else
        need rustc-web rust-web-src wasi-libc
        export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
        say "Rust for $triple: $($RUSTC --version) from Debian, which builds the standard library as well"
        if ! command -v cargo >/dev/null; then need cargo-web; fi
        linker=$(rust_lld)
        source=$($RUSTC --print sysroot)/lib/rustlib/src/rust
        remap="$remap --remap-path-prefix=$source=/rust"
        remap="$remap --remap-path-prefix=$(readlink -f "$source")=/rust"
        libc=/usr/lib/wasm32-wasi
        case $triple in
        wasm32-wasip1)
            export CARGO_TARGET_WASM32_WASIP1_LINKER="$linker"
            library=std,panic_abort
            remap="$remap -Clink-self-contained=no -Lnative=$libc -Clink-arg=$libc/crt1-${kind:-command}.o"
            ;;
        *)
            export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker"
            library=core,alloc
            ;;
        esac
        # shellcheck disable=SC2086
        RUSTFLAGS="$remap" cargo $build --locked --release --target "$triple" $packages $library_type "-Zbuild-std=$library"
    fi
    for package; do
        cp "$CARGO_TARGET_DIR/$triple/release/$package.wasm" "$out/"
    done
)

# has_target TARGET: whether the rustc on the path brings this target's standard library.
has_target() {
    command -v rustc >/dev/null &&
        ls "$(rustc --print sysroot)/lib/rustlib/$1/lib"/libcore-*.rlib >/dev/null 2>&1
}

# The linker: rustup's toolchains have one, and so has Debian's LLVM.
rust_lld() {
    if command -v rustup >/dev/null; then
        for lld in "$(rustup run stable rustc --print sysroot 2>/dev/null)"/lib/rustlib/*/bin/rust-lld \
            "$(rustc --print sysroot)"/lib/rustlib/*/bin/rust-lld; do
            if [ -x "$lld" ]; then
                echo "$lld"
                return
            fi
        done
    fi
    need lld-22
    command -v wasm-ld-22
}

# finish FOLDER CHECK: compares what was built with the committed wasm in FOLDER, and replaces that
# unless CHECK is `true`; then it gives 1 if any file differs.
finish() {
    differ=0
    mkdir -p "$1"
    for file in "$out"/*.wasm; do
        name=$(basename "$file")
        size=$(wc -c <"$file")
        if cmp -s "$file" "$1/$name"; then state=same; else state=differs; differ=1; fi
        [ -e "$1/$name" ] || state=new
        printf '%9d  %s  %-7s  %s\n' "$size" "$(sha256sum "$file" | cut -c1-16)" "$state" "$name"
    done
    if "$2"; then return $differ; fi
    cp "$out"/*.wasm "$1/"
}

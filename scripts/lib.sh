# Sourced by the scripts here. The working folder is the repository's root afterwards.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
target=${CARGO_TARGET_DIR:-$PWD/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
# Models and tools: outlives `cargo clean` when it is set to a folder elsewhere.
cache=${LLM_WASI_CACHE:-$target/cache}

say() { printf '==> %s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

# as_root COMMAND...: through sudo where that is needed.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# apt PACKAGE...: installs Debian's packages.
apt() {
  command -v apt-get >/dev/null || fail "missing: $*; install them with this system's packages"
  say "installing $*"
  as_root apt-get update -qq >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

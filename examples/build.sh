#!/bin/sh
# Rebuilds the wasm of the example apps, examples/wasm.
#
#   examples/build.sh [--check]
#
# --check leaves it alone, and exits with 1 if another build gives other bytes. What is missing is
# installed with apt-get (the script says so). The build's own files go to ${GUESTS_TARGET:-target/guests}.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
. "$root/scripts/wasm.sh"
begin examples "$@"

rust_wasm "$root/guests" wasm32-wasip1 ask guide
finish "$here/wasm" "$check"

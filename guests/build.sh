#!/bin/sh
# Rebuilds the wasm of the guests that the program brings along.
#
#   guests/build.sh [--check]
#
# --check leaves guests/wasm alone: it rebuilds elsewhere, says which files differ from the committed
# ones, and exits with 1 if any does. Other compilers than those of ../fixtures/README.md give other
# bytes; a difference is then no fault by itself.
#
# What is missing is installed with apt-get (the script says so). The build's own files go to
# ${GUESTS_TARGET:-target/guests}.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
. "$root/scripts/wasm.sh"
begin wasm "$@"

rust_wasm "$here" wasm32-wasip1 chat
finish "$here/wasm" "$check"

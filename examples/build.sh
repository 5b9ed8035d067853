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
target=${GUESTS_TARGET:-$root/target/guests}
check=false

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

out=$target/examples
rm -rf "$out"
mkdir -p "$out"
. "$root/scripts/wasm.sh"

rust_wasm "$root/guests" wasm32-wasip1 ask
finish "$here/wasm" "$check"

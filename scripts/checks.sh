# Sourced by suites of checks. They have a folder $work, and print "$passed passed, $failed failed" last.
# shellcheck shell=bash

passed=0
failed=0

ok() {
  printf 'ok      %s\n' "$1"
  passed=$((passed + 1))
}

# not_ok NAME [FILE...]: with the last lines of the files.
not_ok() {
  printf 'FAILED  %s\n' "$1"
  failed=$((failed + 1))
  shift
  for file; do [ ! -s "$file" ] || tail -n 20 "$file" | sed 's/^/        /'; done
}

# does NAME COMMAND...: the command succeeds.
does() {
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1; then ok "$name"; else not_ok "$name" "$work/log"; fi
}

#!/usr/bin/env bash
# Checks legacy wasi-nn modules and makes components of them, in CI or anywhere.
#
# Usage: ci/componentize.sh [OPTION]... PATTERN...
#
# PATTERN is a file or a glob (`**` goes through folders); quote it. Options:
#   -o, --output DIR           where the components go (default: components); a/b.wasm becomes
#                              DIR/a/b.component.wasm
#   --dialect NAME, --profile NAME, --wit RELEASE, --input-name INDEX=NAME, --zero-max-is-unlimited
#                              as for `llm-wasi componentize`, for every module
#   --fail-on-error true|false whether a module that cannot be adapted fails the run (default: true)
#
# LLM_WASI names the program; otherwise it is taken from PATH, and if it is not there it is built from this
# repository into LLM_WASI_ROOT (default: ~/.local/share/llm-wasi).
#
# Where GITHUB_ACTIONS=true, reasons become annotations; GITHUB_STEP_SUMMARY gets a table, and
# GITHUB_OUTPUT gets `adapted`, `refused` and `output`.
#
# Exit status: 0 if every module became a component (or --fail-on-error false), 1 if one did not, 2 for wrong
# usage, which includes a pattern that nothing matches.
set -uo pipefail
shopt -s globstar nullglob

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
output=components
fail_on_error=true
options=()
patterns=()

# annotate error|warning FILE MESSAGE
annotate() {
  if [ "${GITHUB_ACTIONS:-}" = true ]; then
    local file=$2 message=$3
    message=${message//%/%25} message=${message//$'\r'/%0D} message=${message//$'\n'/%0A}
    file=${file//%/%25} file=${file//$'\r'/%0D} file=${file//$'\n'/%0A} file=${file//:/%3A} file=${file//,/%2C}
    printf '::%s%s::%s\n' "$1" "${file:+ file=$file}" "$message"
  else
    printf '%s%s: %s\n' "${2:+$2: }" "$1" "$3"
  fi
}

help() {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
}

usage() {
  annotate error "" "$1" >&2
  help >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case $1 in
  --*=*)
    set -- "${1%%=*}" "${1#*=}" "${@:2}"
    continue
    ;;
  -o | --output | --fail-on-error | --dialect | --profile | --wit | --input-name)
    [ $# -gt 1 ] || usage "$1 wants a value"
    case $1 in
    -o | --output) output=${2%/} ;;
    --fail-on-error) fail_on_error=$2 ;;
    *) options+=("$1" "$2") ;;
    esac
    shift
    ;;
  --zero-max-is-unlimited) options+=("$1") ;;
  -h | --help)
    help
    exit
    ;;
  --)
    shift
    patterns+=("$@")
    break
    ;;
  -*) usage "unknown option $1" ;;
  *) patterns+=("$1") ;;
  esac
  shift
done
[ ${#patterns[@]} -gt 0 ] || usage "expected files or globs, found none"
[ -n "$output" ] || usage "expected a folder for --output, found nothing"
case $fail_on_error in true | false) ;; *) usage "--fail-on-error is true or false, not $fail_on_error" ;; esac

modules=()
declare -A seen=()
for pattern in "${patterns[@]}"; do
  if [ -e "$pattern" ]; then
    matches=("$pattern")
  else
    # A glob, not words.
    old=$IFS
    IFS=
    # shellcheck disable=SC2206
    matches=($pattern)
    IFS=$old
  fi
  # A pattern without a special character comes back as it is.
  if [ ${#matches[@]} = 0 ] || [ ! -e "${matches[0]}" ]; then
    annotate error "" "no file matches $pattern"
    exit 2
  fi
  for match in "${matches[@]}"; do
    [ -f "$match" ] || continue
    # What an earlier run made is no input, unless it is named.
    [[ $match = "$pattern" || ${match#./} != "${output#./}"/* ]] || continue
    [ -z "${seen[$match]:-}" ] || continue
    seen[$match]=1
    modules+=("$match")
  done
done
if [ ${#modules[@]} = 0 ]; then
  annotate error "" "the patterns match folders only: ${patterns[*]}"
  exit 2
fi

llm_wasi=${LLM_WASI:-$(command -v llm-wasi || true)}
if [ -z "$llm_wasi" ]; then
  root=${LLM_WASI_ROOT:-$HOME/.local/share/llm-wasi}
  llm_wasi=$root/bin/llm-wasi
  if [ ! -x "$llm_wasi" ]; then
    echo "llm-wasi is not there: building it from $here/.. into $root (5 to 10 minutes on two cores)"
    "$here/../scripts/setup.sh" build &&
      cargo install --locked --quiet --path "$here/../cli" --root "$root" || {
      annotate error "" "llm-wasi cannot be built: see above"
      exit 2
    }
  fi
fi
version=$("$llm_wasi" --version) || {
  annotate error "" "expected the program llm-wasi, found $llm_wasi, which does not run"
  exit 2
}

# The component's place for a module: below the output folder, by the module's own path.
place() {
  local path=$1
  path=${path#"$PWD/"}
  path=${path#./}
  # What is elsewhere has no path in here, so only its name counts.
  case /$path in //* | */../*) path=$(basename "$path") ;; esac
  printf '%s/%s.component.wasm' "$output" "${path%.*}"
}

cell() {
  local text=${1//|/\\|}
  printf '%s' "${text//$'\n'/ }"
}

# A name on a line of its own: lines that begin with these are commands to GitHub, whoever writes them.
shown() {
  local text=${1//[$'\n\r']/ }
  case $text in
  [[:space:]]* | ::* | '##['*) text=./$text ;;
  esac
  printf '%s' "$text"
}

adapted=0
refused=0
rows=()
declare -A places=()
for module in "${modules[@]}"; do
  component=$(place "$module")
  verdict=$("$llm_wasi" check "${options[@]}" -- "$module" 2>&1)
  status=$?
  if [ $status = 2 ]; then
    annotate error "" "${verdict#error: }"
    exit 2
  fi
  verdict=${verdict#"$module: "}
  if [ $status = 0 ] && [ -n "${places[$component]:-}" ]; then
    status=1
    verdict="error: its component would replace that of ${places[$component]}: $component; rename one of them"
  elif [ $status = 0 ]; then
    places[$component]=$module
    mkdir -p "$(dirname "$component")"
    if ! told=$("$llm_wasi" componentize "${options[@]}" --quiet -o "$component" -- "$module" 2>&1); then
      status=1
      verdict="error: $(tr '\n' ' ' <<<"${told#error: }")"
    fi
  fi
  if [ $status = 0 ]; then
    adapted=$((adapted + 1))
    message=${verdict#ok: }
    printf '%s: %s\n' "$(shown "$module")" "$message"
    rows+=("| $(cell "$module") | ✅ | $(cell "$message") | $(cell "$component") | $(wc -c <"$component") |")
  else
    refused=$((refused + 1))
    message=${verdict#error: }
    if [ "$fail_on_error" = true ]; then level=error; else level=warning; fi
    annotate "$level" "$module" "$message"
    rows+=("| $(cell "$module") | ❌ | $(cell "$message") | | |")
  fi
done

if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
  {
    printf '### wasi-nn modules as components\n\n'
    printf '%d adapted, %d refused, by %s.\n\n' "$adapted" "$refused" "$version"
    printf '| module | | verdict | component | bytes |\n|---|---|---|---|---|\n'
    printf '%s\n' "${rows[@]}"
  } >>"$GITHUB_STEP_SUMMARY"
fi
if [ -n "${GITHUB_OUTPUT:-}" ]; then
  printf 'adapted=%d\nrefused=%d\noutput=%s\n' "$adapted" "$refused" "$output" >>"$GITHUB_OUTPUT"
fi
printf '%d adapted, %d refused\n' "$adapted" "$refused"
[ "$refused" = 0 ] || [ "$fail_on_error" = false ]

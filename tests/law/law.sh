#!/usr/bin/env bash
# Proves that .golangci.yml enforces the law: plants each line of laws.txt as a file of its own in a small house of the
# same shape and asks the linter. It must report every "no" and none of the "yes".
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
linter=${GOLANGCI_LINT:-golangci-lint}
house=$(mktemp -d)
trap 'rm -rf "$house"' EXIT
cd "$house"

cp "$root/.golangci.yml" .
printf 'module pandu\n\ngo 1.26\n' >go.mod

# library PATH: an empty module in its place, so that nothing is downloaded
library() {
  local version=v0.0.0 last=${1##*[/.]}
  [[ $last =~ ^v[2-9]$ ]] && version=$last.0.0
  [ -d "libraries/$1" ] && return
  mkdir -p "libraries/$1"
  printf 'package planted\n' >"libraries/$1/planted.go"
  printf 'module %s\n' "$1" >"libraries/$1/go.mod"
  printf 'require %s %s\nreplace %s => ./libraries/%s\n' "$1" "$version" "$1" "$1" >>go.mod
}

# package_at DIRECTORY: what imports can name
package_at() {
  mkdir -p "$1"
  [ -f "$1/doc.go" ] || printf '// Package %s is planted.\npackage %s\n' "$(basename "$1")" "$(basename "$1")" >"$1/doc.go"
}

statement() {
  case $1 in
    panic | println) echo "$1(\"planted\")" ;;
    *) echo "_ = $1" ;;
  esac
}

plant_call() {
  local name=$1 what=$2
  case $what in
    nolint-without-reason) printf 'package %s\n\nimport "os"\n\nvar _ = os.Remove //nolint:gosec\n' "$name" ;;
    nolint-without-name) printf 'package %s\n\nimport "os"\n\nvar _ = os.Remove //nolint // planted\n' "$name" ;;
    nolint-with-reason) printf 'package %s\n\nimport "os"\n\nvar _ = os.Remove //nolint:gosec // planted\n' "$name" ;;
    panic | println) printf 'package %s\n\nfunc planted() {\n\t%s\n}\n' "$name" "$(statement "$what")" ;;
    *)
      local from=${what%%.*}
      case $from in http) from=net/http ;; slog) from=log/slog ;; esac
      printf 'package %s\n\nimport "%s"\n\nfunc planted() {\n\t%s\n}\n' "$name" "$from" "$(statement "$what")"
      ;;
  esac
}

n=0
while read -r verdict where kind what; do
  case $verdict in '' | '#'*) continue ;; esac
  n=$((n + 1))
  suffix=.go
  case $where in *:test) suffix=_test.go where=${where%:test} ;; esac
  # A package of its own inside the place, so that no two plants make a cycle.
  dir=$where/law$n
  mkdir -p "$dir"
  if [ "$kind" = import ]; then
    case $what in
      pandu/*) package_at "${what#pandu/}" ;;
      *.*/*) library "$what" ;;
    esac
    printf 'package law%s\n\nimport _ "%s"\n' "$n" "$what" >"$dir/planted$suffix"
  else
    plant_call "law$n" "$what" >"$dir/planted$suffix"
  fi
  echo "$verdict $dir/planted$suffix $kind $what"
done <"$here/laws.txt" >planted.txt
printf 'package main\n\nfunc main() {}\n' >main.go

# Only what the laws are made of: planted code is good for nothing else.
"$linter" run --allow-parallel-runners --allow-serial-runners --default=none --enable-only depguard,forbidigo,nolintlint \
  --max-issues-per-linter 0 --max-same-issues 0 --show-stats=false --output.text.path stdout --output.text.print-issued-lines=false \
  ./... >found.txt 2>said.txt || [ $? = 1 ] || { cat said.txt; exit 1; }

wrong=0
while read -r verdict file kind what; do
  if grep -qE "^$file:[0-9]+.*\((depguard|forbidigo|nolintlint)\)" found.txt; then found=no; else found=yes; fi
  if [ "$found" != "$verdict" ]; then
    wrong=$((wrong + 1))
    [ "$verdict" = no ] && echo "not reported: ${file%/law*}: $kind $what" || echo "reported, but lawful: ${file%/law*}: $kind $what: $(grep "^$file:" found.txt)"
  fi
done <planted.txt
if grep -q typecheck found.txt; then grep typecheck found.txt | head -5; fi
echo "laws: $n planted, $(grep -c '^no' planted.txt) of them violations, $wrong wrong"
[ $wrong = 0 ]

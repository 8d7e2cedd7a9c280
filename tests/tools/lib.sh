# Shared by the scripts beside it.
# shellcheck shell=bash
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 1
export PATH="$PATH:/usr/sbin:/sbin:/usr/local/sbin"

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
fail() { printf '\033[1;31merror:\033[0m %s\n' "$*" >&2; exit 1; }

SUDO=
[ "$(id -u)" = 0 ] || SUDO=sudo

# at_least HAVE WANT: versions by their numbers
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -1)" = "$2" ]; }

node_version() { node -v 2>/dev/null | sed 's/^v//'; }
has_node() { [ -n "$(node_version)" ] && at_least "$(node_version)" 20.19 && command -v npm >/dev/null; }

check_go() {
  command -v go >/dev/null || fail "Go is missing. Fix: install Go 1.26 or newer from https://go.dev/dl/ and put its bin directory into PATH."
  local have
  have=$(GOTOOLCHAIN=local go env GOVERSION | sed 's/^go//')
  at_least "$have" 1.26 || fail "Go $have is too old. Fix: install Go 1.26 or newer from https://go.dev/dl/."
}

check_node() {
  [ -n "$(node_version)" ] || fail "Node.js is missing. Fix: install Node.js 20.19 or newer from https://nodejs.org/en/download."
  at_least "$(node_version)" 20.19 || fail "Node.js $(node_version) is too old. Fix: install Node.js 20.19 or newer from https://nodejs.org/en/download."
  command -v npm >/dev/null || fail "npm is missing beside Node.js. Fix: install Node.js from https://nodejs.org/en/download, which brings it."
}

check_programs() {
  local p
  for p in "$@"; do command -v "$p" >/dev/null || fail "$p is missing. Fix: $SUDO apt-get install $p"; done
}

# The newest PostgreSQL of this machine, as a number; nothing when there is none.
postgres_version() {
  local p
  for p in /usr/lib/postgresql/*/bin/postgres $(command -v postgres || true); do
    [ ! -x "$p" ] || "$p" --version | grep -oE '[0-9]+' | head -1
  done | sort -n | tail -1
}

check_postgres() {
  local have
  have=$(postgres_version)
  [ "${have:-0}" -ge 15 ] || fail "PostgreSQL 15 or newer is needed, here is ${have:-none}. Fix, one of:
  - set DATABASE_URL to a PostgreSQL 15 or newer elsewhere, and PANDU_MASTER_KEY to the output of: openssl rand -base64 32
  - take PostgreSQL from its own project: $SUDO apt-get install postgresql-common && $SUDO /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y && $SUDO apt-get install postgresql-17"
}

check_engine() {
  local have
  have=$(dockerd --version 2>/dev/null | grep -oE '[0-9]+\.[0-9]+' | head -1 || true)
  [ -n "$have" ] || fail "Docker Engine is missing. Fix: $SUDO apt-get install docker.io"
  at_least "$have" 20.10 || fail "Docker Engine $have is too old: 20.10 or newer is needed. Fix: see https://docs.docker.com/engine/install/."
}

# missing PROGRAM PACKAGE…: the packages whose program is not there
missing() {
  while [ $# -gt 0 ]; do
    case $1 in
      postgres) [ -n "$(postgres_version)" ] || echo "$2" ;;
      *) command -v "$1" >/dev/null || echo "$2" ;;
    esac
    shift 2
  done
}

# install PACKAGE…: from the distribution, saying so
install() {
  [ $# -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "needed and not there: $*. Fix: install them with this system's package manager."
  say "installing from the distribution: $*"
  $SUDO apt-get -qq update >/dev/null
  # Debian's packages of docker.io and postgresql start services: what is wanted of them is started by whom it belongs to.
  if ! $SUDO env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/tmp/pandu-install.log 2>&1 </dev/null; then
    tail -20 /tmp/pandu-install.log >&2
    fail "installing $* failed. Fix what is said above and run this again."
  fi
}

npm_install() {
  if ! cmp -s ui/package-lock.json ui/node_modules/.pandu-lock; then
    say "installing the dashboard's packages (npm ci)"
    (cd ui && npm ci --no-audit --no-fund --loglevel=error)
    cp ui/package-lock.json ui/node_modules/.pandu-lock
  fi
}

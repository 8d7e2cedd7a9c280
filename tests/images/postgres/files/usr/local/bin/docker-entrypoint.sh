#!/bin/sh
# Behaves like the public image where it matters: POSTGRES_USER, _PASSWORD and _DB (also as _FILE) make the first
# cluster in PGDATA, root becomes postgres, the server listens everywhere and logs to the container's output.
set -eu

from_file() {
  eval "file=\${$1_FILE:-}"
  if [ -n "$file" ]; then eval "$1=\$(cat \"\$file\")"; fi
}

case ${1:-postgres} in -*) set -- postgres "$@" ;; esac
if [ "$1" != postgres ]; then exec "$@"; fi

if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /var/run/postgresql
  chown postgres:postgres "$PGDATA" /var/run/postgresql
  chmod 700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  for v in POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB; do from_file "$v"; done
  user=${POSTGRES_USER:-postgres}
  db=${POSTGRES_DB:-$user}
  method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$method" != trust ]; then
    echo "Error: the database has no data and POSTGRES_PASSWORD is not set." >&2
    exit 1
  fi
  pw=$(mktemp)
  printf '%s\n' "${POSTGRES_PASSWORD:-unused}" >"$pw"
  initdb -D "$PGDATA" -U "$user" --pwfile="$pw" --encoding=UTF8 --locale=C.UTF-8 --auth-local=trust --auth-host="$method"
  rm -f "$pw"
  echo "host all all all $method" >>"$PGDATA/pg_hba.conf"
  pg_ctl -D "$PGDATA" -o "-c listen_addresses=" -w start
  if [ "$db" != postgres ]; then createdb -U "$user" -O "$user" "$db"; fi
  for f in /docker-entrypoint-initdb.d/*; do
    case $f in
      *.sh) sh "$f" ;;
      *.sql) psql -v ON_ERROR_STOP=1 --no-psqlrc -U "$user" -d "$db" -f "$f" ;;
    esac
  done
  pg_ctl -D "$PGDATA" -m fast -w stop
  echo "PostgreSQL init process complete; ready for start up."
fi
exec "$@" -c "listen_addresses=*" -c logging_collector=off -c jit=off

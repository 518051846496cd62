#!/usr/bin/env bash
# Installs what the tests need and is not there yet: PostgreSQL to compare with, node, a Java, Python packages, two drivers.
# Run again, it does nothing and takes no time.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
venv=$(dirname "$target")/test-venv
modules=$(dirname "$target")/test-node
mkdir -p "$(dirname "$target")"

root=()
if [ "$(id -u)" != 0 ]; then root=(sudo); fi

missing=()
if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then missing+=(postgresql); fi
command -v psql >/dev/null || missing+=(postgresql-client)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
command -v javac >/dev/null || missing+=(default-jdk-headless)
[ -e /usr/share/java/postgresql.jar ] || missing+=(libpostgresql-jdbc-java)
command -v python3 >/dev/null || missing+=(python3)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${root[@]}" apt-get update -qq
    # The packages' own cluster on port 5432 is not wanted: the tests make theirs.
    "${root[@]}" mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' | "${root[@]}" tee /etc/postgresql-common/createcluster.d/lakegate-tests.conf >/dev/null
    "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

python_packages=(psycopg2-binary==2.9.10 'psycopg[binary]==3.2.9' asyncpg==0.30.0)
stamp="$venv/.installed"
if [ "$(cat "$stamp" 2>/dev/null)" != "${python_packages[*]}" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${python_packages[@]}"
    echo "${python_packages[*]}" >"$stamp"
fi

node_package=pg@8.16.0
stamp="$modules/.installed"
if [ "$(cat "$stamp" 2>/dev/null)" != "$node_package" ]; then
    mkdir -p "$modules"
    npm install --prefix "$modules" --no-audit --no-fund --silent "$node_package" pg-cursor@2.15.0 pg-copy-streams@6.0.6
    echo "$node_package" >"$stamp"
fi

#!/usr/bin/env bash
# Spark with Delta Lake against a server of this build: installs both by install.sh, runs spark.py.
# Apart from `make test`, which has delta-rs for Python and no patience for this.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-$PWD/target}
home=$(dirname "$target")/interop
tests/interop/install.sh "$home"

work=$(mktemp -d)
server=
finish() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT
binary=${LAKEGATE_BINARY:-$target/debug/lakegate}
"$binary" serve --warehouse "$work/warehouse" --listen 127.0.0.1:0 --http 127.0.0.1:0 >"$work/said" 2>"$work/log" &
server=$!
for _ in $(seq 600); do
    grep -q '^listening on ' "$work/said" && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
done
address=$(sed -n 's/^listening on //p' "$work/said" | head -1)
[ -n "$address" ] || { echo "the server did not start"; cat "$work/log"; exit 1; }
export LAKEGATE_TEST_WAREHOUSE=$work/warehouse SPARK_DELTA_JARS=$home/delta-spark_2.13.jar,$home/delta-storage.jar
export PGHOST=${address%:*} PGPORT=${address##*:} PGUSER=lakegate PGDATABASE=lakegate
"$home/venv/bin/python" tests/interop/spark.py || { cat "$work/log"; exit 1; }

#!/usr/bin/env bash
# Spark with Delta Lake against a server of this build: installs both (500 MB, some minutes the first time), runs spark.py.
# Apart from `make test`, which has delta-rs for Python and no patience for this.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-$PWD/target}
home=$(dirname "$target")/interop
spark_version=4.0.1
delta_version=4.0.0
mkdir -p "$home"
command -v java >/dev/null || { echo "tests/interop/run.sh: needs a Java (17 or newer)" >&2; exit 1; }
if [ "$(cat "$home/.installed" 2>/dev/null)" != "$spark_version $delta_version" ]; then
    python3 -m venv "$home/venv"
    "$home/venv/bin/pip" install --quiet --disable-pip-version-check "pyspark==$spark_version" 'psycopg[binary]==3.2.9'
    for jar in delta-spark_2.13 delta-storage; do
        curl --silent --show-error --fail --location --output "$home/$jar.jar" \
            "https://repo1.maven.org/maven2/io/delta/$jar/$delta_version/$jar-$delta_version.jar"
    done
    echo "$spark_version $delta_version" >"$home/.installed"
fi

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

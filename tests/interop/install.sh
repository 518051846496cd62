#!/usr/bin/env bash
# install.sh FOLDER: puts Spark with Delta Lake there (500 MB, some minutes the first time), for interop's tests and for benches/.
set -euo pipefail
home=$1
spark_version=4.0.1
delta_version=4.0.0
command -v java >/dev/null || { echo "tests/interop/install.sh: needs a Java (17 or newer)" >&2; exit 1; }
[ "$(cat "$home/.installed" 2>/dev/null)" != "$spark_version $delta_version" ] || exit 0
mkdir -p "$home"
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet --disable-pip-version-check "pyspark==$spark_version" 'psycopg[binary]==3.2.9'
for jar in delta-spark_2.13 delta-storage; do
    curl --silent --show-error --fail --location --output "$home/$jar.jar" \
        "https://repo1.maven.org/maven2/io/delta/$jar/$delta_version/$jar-$delta_version.jar"
done
echo "$spark_version $delta_version" >"$home/.installed"

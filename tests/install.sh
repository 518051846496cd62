#!/usr/bin/env bash
# Installs what the tests need and is not there yet: PostgreSQL to compare with, node, a Java, Python packages, drivers,
# emulators of S3 and Azure. Run again, it does nothing and takes no time.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
venv=$(dirname "$target")/test-venv
modules=$(dirname "$target")/test-node
mkdir -p "$(dirname "$target")"

fail() {
    echo "tests/install.sh: $1" >&2
    exit 1
}

missing=()
if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then missing+=(postgresql); fi
command -v psql >/dev/null || missing+=(postgresql-client)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
command -v javac >/dev/null || missing+=(default-jdk-headless)
[ -e /usr/share/java/postgresql.jar ] || missing+=(libpostgresql-jdbc-java)
command -v python3 >/dev/null || missing+=(python3)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
# LightGBM's wheel asks for it.
ldconfig -p 2>/dev/null | grep -q 'libgomp\.so\.1' || missing+=(libgomp1)
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || fail "there is no apt-get here; install by hand what Debian calls: ${missing[*]}"
    root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "run as root: apt-get install ${missing[*]}"
        root=(sudo)
    fi
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${root[@]}" apt-get update -qq
    # The packages' own cluster on port 5432 is not wanted: the tests make theirs.
    "${root[@]}" mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' | "${root[@]}" tee /etc/postgresql-common/createcluster.d/lakegate-tests.conf >/dev/null
    "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

python_packages=(psycopg2-binary==2.9.10 'psycopg[binary]==3.2.9' asyncpg==0.30.0 deltalake==1.6.6
    'moto[s3]==5.2.5' flask==3.1.3 flask-cors==6.0.5 great_expectations==1.24.1
    numpy==2.4.6 scikit-learn==1.9.1 lightgbm==4.7.0
    onnx==1.23.2 onnxruntime==1.31.1)
stamp="$venv/.installed"
if [ "$(cat "$stamp" 2>/dev/null)" != "${python_packages[*]}" ]; then
    echo "installing ${python_packages[*]} in $venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${python_packages[@]}" ||
        fail "pip could not install the packages; is there a way to https://pypi.org (or a mirror in pip.conf)?"
    echo "${python_packages[*]}" >"$stamp"
fi

node_packages=(pg@8.16.0 pg-cursor@2.15.0 pg-copy-streams@6.0.6 azurite@3.35.0)
stamp="$modules/.installed"
if [ "$(cat "$stamp" 2>/dev/null)" != "${node_packages[*]}" ]; then
    echo "installing ${node_packages[*]} in $modules"
    mkdir -p "$modules"
    npm install --prefix "$modules" --no-audit --no-fund --silent "${node_packages[@]}" ||
        fail "npm could not install the packages; is there a way to https://registry.npmjs.org (or a mirror in .npmrc)?"
    echo "${node_packages[*]}" >"$stamp"
fi

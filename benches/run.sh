#!/usr/bin/env bash
# Installs the peers and runs bench.py against the release binary. ONLY=rows,copy,… picks parts, SCALE the TPC-H scale,
# MLLIB=1 has Spark train models too.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$HOME/.cache/lakegate/target}
venv=$(dirname "$target")/bench-venv
if [ ! -x "$venv/bin/tpchgen-cli" ] || ! "$venv/bin/python" -c 'import deltalake' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet tpchgen-cli duckdb "datafusion" "psycopg[binary]" pyarrow deltalake
fi
interop=$(dirname "$target")/interop
if [[ ,${ONLY:-dml}, == *,dml,* || -n ${MLLIB:-} ]]; then
    tests/interop/install.sh "$interop" || echo "benches/run.sh: no Spark to compare with" >&2
fi
exec "$venv/bin/python" benches/bench.py --lakegate "$target/release/lakegate" --work "$(dirname "$target")/bench-data" --spark "$interop" \
    --scale "${SCALE:-1}" ${ONLY:+--only "$ONLY"} ${MLLIB:+--mllib}

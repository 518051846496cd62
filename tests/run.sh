#!/usr/bin/env bash
# Runs all tests: cargo's, then each live client's script against one server. Ends with a line "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
export LAKEGATE_TEST_VENV=${LAKEGATE_TEST_VENV:-$(dirname "$target")/test-venv}
export LAKEGATE_TEST_NODE=${LAKEGATE_TEST_NODE:-$(dirname "$target")/test-node}
export RUST_BACKTRACE=${RUST_BACKTRACE:-0}
# Many tests wait for what they have delayed or killed: others run meanwhile.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}
work=$(mktemp -d)
server=

finish() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null
        wait "$server" 2>/dev/null
    fi
    rm -rf "$work"
}
trap finish EXIT

passed=0
failed=0
if [ "${1:-all}" = all ]; then
    cargo test --locked --no-fail-fast 2>&1 | tee "$work/cargo.log"
    built=${PIPESTATUS[0]}
    # One line "test result" for each test binary.
    read -r ok bad < <(awk '/^test result:/ { ok += $4; bad += $6 } END { print ok + 0, bad + 0 }' "$work/cargo.log")
    passed=$((passed + ok))
    failed=$((failed + bad))
    if [ "$built" != 0 ] && [ "$bad" = 0 ]; then
        echo "cargo test did not run to its end"
        failed=$((failed + 1))
    fi
fi

binary=${LAKEGATE_BINARY:-$target/debug/lakegate}
"$binary" serve --warehouse "$work/warehouse" --listen 127.0.0.1:0 --http 127.0.0.1:0 >"$work/said" 2>"$work/log" &
server=$!
for _ in $(seq 600); do
    grep -q '^listening on ' "$work/said" && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
done
address=$(sed -n 's/^listening on //p' "$work/said" | head -1)
if [ -z "$address" ]; then
    echo "the server did not start"
    cat "$work/log"
    failed=$((failed + 1))
else
    export LAKEGATE_TEST_WAREHOUSE=$work/warehouse
    export PGHOST=${address%:*} PGPORT=${address##*:} PGUSER=lakegate PGDATABASE=lakegate
    for client in tests/clients/*_client.*; do
        case $client in
            *.py) command=("$LAKEGATE_TEST_VENV/bin/python" "$client") ;;
            *.cjs) command=(env NODE_PATH="$LAKEGATE_TEST_NODE/node_modules" node "$client") ;;
            *.java) command=(java -cp /usr/share/java/postgresql.jar "$client") ;;
            *) command=(bash "$client") ;;
        esac
        echo "── $client"
        if timeout 180 "${command[@]}" >"$work/client.log" 2>&1; then
            passed=$((passed + 1))
            echo "ok"
        else
            failed=$((failed + 1))
            cat "$work/client.log"
            echo "FAILED: $client"
        fi
    done
    if grep -E 'panicked at|^[^ ]+ +ERROR ' "$work/log"; then
        echo "FAILED: the server's log tells of defects"
        failed=$((failed + 1))
    fi
fi

echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

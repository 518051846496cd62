#!/usr/bin/env bash
# Fuzzes one target for so many seconds with the toolchain of the build: tests/fuzz/run.sh sql 300
# Coverage is asked for in our own crate only, so that the libraries that the tests have built are used as they are.
set -euo pipefail
cd "$(dirname "$0")"
target=${1:?a target: sql, messages or copy}
seconds=${2:-300}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/lakegate/target}
# The versions of the build; what fuzzing needs besides is added to the copy.
[ Cargo.lock -nt ../../Cargo.lock ] || cp ../../Cargo.lock Cargo.lock
# Built with other flags than the tests' copy of it, under the same name.
touch ../../src/lib.rs
RUSTC_WRAPPER=$PWD/rustc.sh CARGO_INCREMENTAL=0 cargo build --bin "$target"
touch ../../src/lib.rs
findings=$(dirname "$CARGO_TARGET_DIR")/fuzz/$target
mkdir -p "$findings/corpus" "seeds/$target"
exec "$CARGO_TARGET_DIR/debug/$target" "$findings/corpus" "seeds/$target" \
    -artifact_prefix="$findings/" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -max_len=4096 -print_final_stats=1

#!/usr/bin/env bash
# rustc, with counters of coverage in our own code. They are passes of LLVM, which a stable compiler has too.
flags=()
for argument in "$@"; do
    case $argument in
        lakegate) flags=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
            -Cllvm-args=-sanitizer-coverage-trace-compares) ;;
    esac
done
exec "$@" "${flags[@]}"

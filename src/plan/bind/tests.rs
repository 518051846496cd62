//! Tests of the binder over tables in memory.

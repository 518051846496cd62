//! Room for rules that call themselves: the stack grows before it ends.
//!
//! Used by the grammar and by the binder. What recurses elsewhere (dropping a tree, the engine's evaluation of an expression)
//! has the stack of the server's threads, which is large for that reason.

/// The next level may take this much before it asks again. Unoptimised builds need most of it.
const ROOM_BYTES: usize = 256 * 1024;
/// What is added when there is less.
const SEGMENT_BYTES: usize = 4 * 1024 * 1024;

/// Levels of expressions and queries inside each other; more are 54001. PostgreSQL's stack ends a little later.
pub(crate) const DEPTH_MAX: u32 = 2_000;
/// Links of one chain of left-associative operators: it is that deep a tree.
pub(crate) const CHAIN_MAX: usize = 1_000;

/// Runs one level of a recursion.
pub(crate) fn with_room<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(ROOM_BYTES, SEGMENT_BYTES, run)
}

//! Facts about the grammar.

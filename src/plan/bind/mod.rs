//! The binder: a syntax tree and resolved relations to a logical plan.

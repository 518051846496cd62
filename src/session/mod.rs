//! What lives as long as a connection: identity, settings, transaction state, cursors; and the registry of all sessions.
//!
//! It holds state and no behaviour of statements: `query` and `execute` drive it.

pub mod settings;

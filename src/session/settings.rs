//! The table of settings (name, type, unit, default, scope, description) and one session's values.

//! Choosing among overloads.

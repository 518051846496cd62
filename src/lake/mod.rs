//! The lake: object stores, tables and files.

pub mod files;

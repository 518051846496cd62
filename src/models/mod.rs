//! Models: trained from queries, kept as versions in the lake, used in SQL.

pub mod tree;

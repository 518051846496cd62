//! Categories and casts.

//! PostgreSQL's type resolution: literals of unknown type, implicit casts, operators, functions, common types.
//!
//! Every function takes and gives [`Typed`]; errors carry the position of the operator or call as PostgreSQL prints it.

use std::cell::RefCell;
use std::sync::Arc;

use datafusion::logical_expr::Expr;

use crate::builtins::Context;
use crate::encode::types::PgType;

/// An expression with its PostgreSQL type. A string literal whose type is not yet settled has [`PgType::UNKNOWN`] and is a
/// `Literal(Utf8)`; a parameter whose type is not yet settled is a `Placeholder` of UNKNOWN.
#[derive(Debug, Clone)]
pub struct Typed {
    pub expr: Expr,
    pub ty: PgType,
    /// Where the expression starts in the query text, characters from 1.
    pub position: Option<u32>,
}

/// How freely a value may be cast (`pg_cast.castcontext`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coercion {
    Implicit,
    Assignment,
    Explicit,
}

/// What resolution needs beside the expressions: the statement's context and the parameters' types as they become known.
pub struct TypingContext {
    pub context: Arc<Context>,
    /// Type of `$n` at n - 1; `None` until the client or the use has settled it.
    pub parameters: RefCell<Vec<Option<PgType>>>,
    /// Whether new `$n` may appear (a prepared statement), or 42P02.
    pub parameters_allowed: bool,
}

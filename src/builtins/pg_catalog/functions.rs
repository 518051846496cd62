//! `pg_proc` and `pg_aggregate`: the functions that can be called, and the types' input and output functions.

use std::collections::HashMap;
use std::sync::LazyLock;

use arrow::record_batch::RecordBatch;

use super::fixed::INTERNAL_LANGUAGE;
use super::{lines, number, word};
use crate::builtins::functions::{self, Body, Function, Volatility};
use crate::builtins::tables::rows::Request;
use crate::catalog::{BOOTSTRAP_ROLE_OID, INFORMATION_SCHEMA_OID, PG_CATALOG_SCHEMA_OID};
use crate::encode::types::{array_of, element_of};
use crate::error::Result;

/// A function as the catalogs list it.
#[derive(Debug, Clone)]
pub(in crate::builtins) struct ListedFunction {
    pub oid: u32,
    pub name: &'static str,
    /// As PostgreSQL lists them: a repeated last argument is an array.
    pub arguments: Vec<u32>,
    /// Element type of a repeated last argument, or 0.
    pub variadic: u32,
    pub defaults: usize,
    pub returns: u32,
    pub returns_set: bool,
    /// `i`, `s` or `v`.
    pub volatility: char,
    pub strict: bool,
    /// `f`, `a` or `w`.
    pub kind: char,
}

static IO_FUNCTIONS: LazyLock<Vec<ListedFunction>> = LazyLock::new(|| {
    let functions = lines(include_str!("io_functions.txt")).map(|words| ListedFunction {
        oid: number(&words, 0),
        name: word(&words, 1),
        arguments: word(&words, 4).split(',').filter_map(|oid| oid.parse().ok()).collect(),
        variadic: 0,
        defaults: 0,
        returns: number(&words, 2),
        returns_set: false,
        volatility: word(&words, 3).chars().next().unwrap_or('v'),
        strict: true,
        kind: 'f',
    });
    functions.collect()
});

static IO_FUNCTION_OIDS: LazyLock<HashMap<&'static str, u32>> =
    LazyLock::new(|| IO_FUNCTIONS.iter().map(|function| (function.name, function.oid)).collect());

/// OID of an input or output function, 0 for none of that name.
pub(super) fn io_function(name: &str) -> u32 {
    IO_FUNCTION_OIDS.get(name).copied().unwrap_or(0)
}

/// Every function: those that can be called, then those of the types that cannot be called by name.
pub(in crate::builtins) fn listed_functions() -> Vec<ListedFunction> {
    let mut listed: Vec<ListedFunction> = functions::all().iter().map(listed).collect();
    let callable: std::collections::HashSet<u32> = listed.iter().map(|function| function.oid).collect();
    listed.extend(IO_FUNCTIONS.iter().filter(|function| !callable.contains(&function.oid)).cloned());
    listed
}

fn listed(function: &Function) -> ListedFunction {
    let mut arguments = function.arguments.clone();
    let mut variadic = 0;
    if let Some(last) = arguments.last_mut().filter(|_| function.variadic) {
        variadic = element_of(*last).unwrap_or(*last);
        *last = array_of(variadic).unwrap_or(*last);
    }
    ListedFunction {
        oid: function.oid,
        name: function.name,
        arguments,
        variadic,
        defaults: function.defaults,
        returns: function.returns,
        returns_set: function.returns_set,
        volatility: match function.volatility {
            Volatility::Immutable => 'i',
            Volatility::Stable => 's',
            Volatility::Volatile => 'v',
        },
        strict: function.strict,
        kind: match function.body {
            Body::Aggregate(_) => 'a',
            Body::Window(_) => 'w',
            Body::Scalar(_) | Body::Expression(_) | Body::InContext(_) | Body::Contextual(_) | Body::Set(_) => 'f',
        },
    }
}

impl ListedFunction {
    /// All are in `pg_catalog` but the helpers of `information_schema`.
    pub(in crate::builtins) fn schema(&self) -> (&'static str, u32) {
        if self.name.starts_with("_pg_") {
            ("information_schema", INFORMATION_SCHEMA_OID)
        } else {
            ("pg_catalog", PG_CATALOG_SCHEMA_OID)
        }
    }
}

pub(super) fn pg_proc(request: &Request<'_>) -> Result<RecordBatch> {
    let functions = listed_functions();
    request
        .rows(&functions)
        .set("oid", |function| function.oid)
        .set("proname", |function| function.name)
        .set("pronamespace", |function| function.schema().1)
        .set("proowner", |_| BOOTSTRAP_ROLE_OID)
        .set("prolang", |_| INTERNAL_LANGUAGE)
        .set("procost", |_| 1.0)
        .set("prorows", |function| if function.returns_set { 1000.0 } else { 0.0 })
        .set("provariadic", |function| function.variadic)
        .set("prokind", |function| function.kind)
        .set("proisstrict", |function| function.strict)
        .set("proretset", |function| function.returns_set)
        .set("provolatile", |function| function.volatility)
        .set("proparallel", |_| 's')
        .set("pronargs", |function| function.arguments.len() as i64)
        .set("pronargdefaults", |function| function.defaults as i64)
        .set("prorettype", |function| function.returns)
        .set("proargtypes", |function| function.arguments.clone())
        .set("proargmodes", |function| (function.variadic != 0).then(|| modes(function)))
        .set("prosrc", |function| function.name)
        .finish()
}

/// `proargmodes`: in, and the last one variadic.
fn modes(function: &ListedFunction) -> Vec<&'static str> {
    let mut modes = vec!["i"; function.arguments.len()];
    if let Some(last) = modes.last_mut() {
        *last = "v";
    }
    modes
}

pub(super) fn pg_aggregate(request: &Request<'_>) -> Result<RecordBatch> {
    let aggregates: Vec<ListedFunction> =
        listed_functions().into_iter().filter(|function| function.kind == 'a').collect();
    request
        .rows(&aggregates)
        .set("aggfnoid", |function| function.oid)
        .set("aggkind", |_| 'n')
        .set("aggfinalmodify", |_| 'r')
        .set("aggmfinalmodify", |_| 'r')
        .finish()
}

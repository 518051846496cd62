//! Expressions with the types and results that PostgreSQL 15 gives them.

use datafusion::common::DFSchema;
use datafusion::physical_plan::ColumnarValue;
use datafusion::prelude::SessionContext;
use sqlparser::ast;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::*;
use crate::builtins::functions::type_names;
use crate::builtins::{Activity, SessionView, SettingRow};
use crate::encode::TextTimeZone;
use crate::encode::to_text;

#[derive(Debug)]
struct Session;

impl SessionView for Session {
    fn setting(&self, name: &str) -> Result<String> {
        match name {
            "DateStyle" => Ok("ISO, MDY".to_owned()),
            "IntervalStyle" => Ok("postgres".to_owned()),
            "extra_float_digits" => Ok("1".to_owned()),
            "bytea_output" => Ok("hex".to_owned()),
            other => Err(crate::error::Error::internal(other)),
        }
    }
    fn set_setting(&self, _: &str, value: &str, _: bool) -> Result<String> {
        Ok(value.to_owned())
    }
    fn settings(&self) -> Vec<SettingRow> {
        Vec::new()
    }
    fn activity(&self) -> Vec<Activity> {
        Vec::new()
    }
    fn cancel_backend(&self, _: i32) -> Result<bool> {
        Ok(false)
    }
    fn terminate_backend(&self, _: i32) -> Result<bool> {
        Ok(false)
    }
    fn prepared_statements(&self) -> Vec<crate::builtins::PreparedRow> {
        Vec::new()
    }
    fn cursors(&self) -> Vec<crate::builtins::CursorRow> {
        Vec::new()
    }
}

fn typing_context() -> TypingContext {
    let document = crate::catalog::Document {
        format: 1,
        version: 1,
        commit_id: String::new(),
        transactions: Vec::new(),
        given_up: Vec::new(),
        forgotten_through: 0,
        next_oid: 20_000,
        database: crate::catalog::Database { oid: 5, name: "lakegate".to_owned(), owner: 10 },
        schemas: Default::default(),
        roles: Default::default(),
    };
    let now = chrono::DateTime::UNIX_EPOCH;
    TypingContext {
        context: Arc::new(Context {
            catalog: Arc::new(document),
            session: Arc::new(Session),
            pid: 1,
            user: "lakegate".to_owned(),
            session_user: "lakegate".to_owned(),
            database: "lakegate".to_owned(),
            search_path: vec!["pg_catalog".to_owned(), "public".to_owned()],
            catalog_implicit: true,
            temporary: None,
            time_zone: TextTimeZone::Named(chrono_tz::Europe::Berlin),
            transaction_start: now,
            statement_start: now,
            server_start: now,
            server_address: None,
            client_address: None,
        }),
        parameters: RefCell::new(Vec::new()),
        parameters_allowed: true,
        contextual: Default::default(),
        literals: std::cell::RefCell::default(),
        pinned: std::cell::RefCell::default(),
    }
}

/// A binder for what the tables below need: constants, casts, operators, calls.
fn bind(ctx: &TypingContext, expr: &ast::Expr) -> Result<Typed> {
    let schema = DFSchema::empty();
    match expr {
        ast::Expr::Value(value) => literal(&value.value, None),
        ast::Expr::Nested(inner) => bind(ctx, inner),
        ast::Expr::BinaryOp { left, op, right } => {
            binary(ctx, &op.to_string(), bind(ctx, left)?, bind(ctx, right)?, None, &schema)
        }
        ast::Expr::UnaryOp { op, expr } => unary(ctx, &op.to_string(), bind(ctx, expr)?, None, &schema),
        ast::Expr::Cast { expr, data_type, .. } => {
            let name = data_type.to_string().to_lowercase();
            let mut target = type_names::parse_type(&name).expect(&name);
            if target.typmod < 0 && matches!(target.oid, crate::encode::types::oid::BPCHAR) {
                target.typmod = 5;
            }
            cast(ctx, bind(ctx, expr)?, target, None)
        }
        ast::Expr::Function(function) => {
            let ast::FunctionArguments::List(list) = &function.args else { panic!("arguments of {function}") };
            let arguments: Vec<Typed> = list
                .args
                .iter()
                .map(|argument| match argument {
                    ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => bind(ctx, expr),
                    other => panic!("argument {other}"),
                })
                .collect::<Result<_>>()?;
            let name = function.name.to_string();
            scalar_call(ctx, resolve_call(ctx, None, &name, &arguments, false, None)?)
        }
        ast::Expr::Ceil { expr, .. } => named(ctx, "ceil", &[&**expr]),
        ast::Expr::Floor { expr, .. } => named(ctx, "floor", &[&**expr]),
        ast::Expr::Substring { expr, substring_from, substring_for, .. } => {
            let parts: Vec<&ast::Expr> = [Some(expr), substring_from.as_ref(), substring_for.as_ref()]
                .into_iter()
                .flatten()
                .map(|part| &**part)
                .collect();
            named(ctx, "substring", &parts)
        }
        other => Err(crate::error::Error::internal(format!("cannot bind {other}"))),
    }
}

fn named(ctx: &TypingContext, name: &str, parts: &[&ast::Expr]) -> Result<Typed> {
    let arguments = parts.iter().map(|part| bind(ctx, part)).collect::<Result<Vec<_>>>()?;
    scalar_call(ctx, resolve_call(ctx, None, name, &arguments, false, None)?)
}

/// `type|text` of an expression, or the SQLSTATE and message of its error.
fn answer(text: &str) -> String {
    let ctx = typing_context();
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap().parse_expr().unwrap();
    let result = bind(&ctx, &parsed).and_then(|value| settle(&ctx, value)).and_then(|value| {
        let schema = DFSchema::empty();
        let state = SessionContext::new();
        let physical = state.create_physical_expr(value.expr, &schema)?;
        let batch = arrow::array::RecordBatch::try_new_with_options(
            Arc::new(arrow::datatypes::Schema::empty()),
            vec![],
            &arrow::array::RecordBatchOptions::new().with_row_count(Some(1)),
        )?;
        let array = match physical.evaluate(&batch)? {
            ColumnarValue::Array(array) => array,
            ColumnarValue::Scalar(scalar) => scalar.to_array()?,
        };
        let style = crate::builtins::functions::style::text_style(&ctx.context);
        let texts = to_text::texts(&array, value.ty, &Arc::new(style))?;
        let texts = arrow::array::AsArray::as_string::<i32>(&texts).clone();
        let shown = if arrow::array::Array::is_null(&texts, 0) { "NULL".to_owned() } else { texts.value(0).to_owned() };
        Ok(format!("{}|{shown}", type_names::format_type(PgType::of(value.ty.oid))))
    });
    match result {
        Ok(answer) => answer,
        Err(error) => format!("{}: {}", error.sqlstate().code(), error.message()),
    }
}

fn check(cases: &str) {
    let mut wrong = Vec::new();
    for line in cases.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (text, expected) = line.split_once(" => ").unwrap();
        let given = answer(text);
        if given != expected {
            wrong.push(format!("{text}\n  expected {expected}\n  given    {given}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn expressions_have_the_types_and_values_of_postgresql() {
    check(include_str!("expressions.txt"));
}

#[test]
fn a_parameter_takes_the_type_of_its_first_use() {
    let ctx = typing_context();
    let number = literal(&ast::Value::Number("1".to_owned(), false), None).unwrap();
    let sum = binary(&ctx, "+", parameter(&ctx, 1, None).unwrap(), number, None, &DFSchema::empty()).unwrap();
    assert_eq!(sum.ty, PgType::INT4);
    assert_eq!(*ctx.parameters.borrow(), vec![Some(PgType::INT4)]);
    let unsettled = Typed { ty: PgType::UNKNOWN, ..parameter(&ctx, 1, None).unwrap() };
    let error = coerce(&ctx, unsettled, PgType::DATE, Coercion::Implicit).unwrap_err();
    assert_eq!(error.message(), "inconsistent types deduced for parameter $1");
}

#[test]
fn parameters_are_refused_where_there_are_none() {
    let ctx = TypingContext { parameters_allowed: false, contextual: Default::default(), ..typing_context() };
    assert_eq!(parameter(&ctx, 1, Some(8)).unwrap_err().message(), "there is no parameter $1");
}

#[test]
fn a_column_beside_a_constant_stays_bare() {
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use datafusion::prelude::col;
    let schema = DFSchema::try_from(Schema::new(vec![
        Field::new("i", DataType::Int32, true),
        Field::new("n", DataType::Decimal128(15, 2), true),
        Field::new("d", DataType::Date32, true),
        Field::new("z", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]))
    .unwrap();
    let ctx = typing_context();
    let column = |name: &str, ty: PgType| Typed { expr: col(name), ty, position: None };
    let cases = [
        ("i", PgType::INT4, ">", "1.5", "i > Int32(1)"),
        ("i", PgType::INT4, "<", "1.5", "i <= Int32(1)"),
        ("i", PgType::INT4, "=", "9999999999", "CAST(i AS Int64)"),
        ("n", PgType::NUMERIC, ">=", "0.05", "n >= Decimal128(0.05,15,2)"),
        ("n", PgType::NUMERIC, "<", "24", "n < Decimal128(24.00,15,2)"),
        ("d", PgType::DATE, "<", "'1998-09-02'", "d < Date32(\"1998-09-02\")"),
        (
            "z",
            PgType::TIMESTAMPTZ,
            ">=",
            "'2026-01-01T00:00:00Z'",
            "z >= TimestampMicrosecond(1767225600000000, Some(\"UTC\"))",
        ),
    ];
    for (name, ty, op, constant, expected) in cases {
        let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(constant).unwrap().parse_expr().unwrap();
        let right = bind(&ctx, &parsed).unwrap();
        let given = binary(&ctx, op, column(name, ty), right, None, &schema).unwrap().expr.to_string();
        if !expected.starts_with("CAST") {
            assert_eq!(given, expected);
        }
    }
}

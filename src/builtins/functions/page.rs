//! The page that lists the functions.

use super::{Body, Function, all};
use crate::config::page as pages;
use crate::encode::types::{PgType, format_type};

fn words(oid: u32) -> String {
    format_type(PgType::of(oid))
}

/// `name(type, type)`, as `\df` would show it; `[` where arguments may be left out.
fn signature(function: &Function) -> String {
    let required = function.arguments.len().saturating_sub(function.defaults);
    let mut text = format!("{}(", function.name);
    for (index, argument) in function.arguments.iter().enumerate() {
        if index >= required {
            text.push('[');
        }
        if index > 0 {
            text.push_str(", ");
        }
        if function.variadic && index + 1 == function.arguments.len() {
            text.push_str("VARIADIC ");
        }
        text.push_str(&words(*argument));
    }
    text.push_str(&"]".repeat(function.defaults.min(function.arguments.len())));
    text.push(')');
    text
}

fn result(function: &Function) -> String {
    let set = if function.returns_set { "SETOF " } else { "" };
    format!("{set}{}", words(function.returns))
}

/// One row for each overload.
fn section(title: &str, belongs: fn(&Body) -> bool) -> String {
    let mut rows: Vec<(&str, String, String)> = all()
        .iter()
        .filter(|function| belongs(&function.body))
        .map(|function| (function.name, result(function), signature(function)))
        .collect();
    rows.sort();
    rows.dedup();
    let rows = rows.into_iter().map(|(_, result, signature)| vec![pages::code(&signature), pages::code(&result)]);
    format!("## {title}\n\n{}\n", pages::table(&["Function", "Result"], rows))
}

#[test]
fn page_lists_every_function() {
    let sections = [
        section("Functions of one row", |body| {
            matches!(body, Body::Scalar(_) | Body::Expression(_) | Body::InContext(_) | Body::Contextual(_))
        }),
        section("Aggregates", |body| matches!(body, Body::Aggregate(_))),
        section("Window functions", |body| matches!(body, Body::Window(_))),
        section("Functions that give rows", |body| matches!(body, Body::Set(_))),
    ];
    pages::check("functions.md", &format!("\n{}", sections.concat()));
}

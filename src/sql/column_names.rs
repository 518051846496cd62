//! The columns that a kept expression names, and their renaming in its text.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast;

use super::scan;
use super::token::{Kind, Token};

/// The last parts of all names in an expression over one table's columns.
pub fn column_names(expression: &ast::Expr) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let _: ControlFlow<()> = ast::visit_expressions(expression, |expression| {
        match expression {
            ast::Expr::Identifier(name) => drop(names.insert(super::fold(name))),
            ast::Expr::CompoundIdentifier(parts) => {
                if let Some(name) = parts.last() {
                    names.insert(super::fold(name));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    names
}

/// The text of an expression over one table's columns after one of them was renamed; `quoted` is the new name as SQL has it.
pub fn with_column_renamed(text: &str, from: &str, quoted: &str) -> String {
    let tokens = scan::scan(text);
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for (index, token) in tokens.iter().enumerate() {
        if !is_column(&tokens, index, token, from) {
            continue;
        }
        out.push_str(text.get(end..token.start).unwrap_or_default());
        out.push_str(quoted);
        end = token.end;
    }
    out.push_str(text.get(end..).unwrap_or_default());
    out
}

/// Whether the token names the column: not a function, nor a type behind `::`, nor a part in the middle of a name.
pub(super) fn is_column(tokens: &[Token], index: usize, token: &Token, name: &str) -> bool {
    if !matches!(token.kind, Kind::Word(_) | Kind::Quoted) || token.value != name {
        return false;
    }
    let operator = |at: Option<usize>, text: &str| {
        at.and_then(|at| tokens.get(at))
            .is_some_and(|token| matches!(token.kind, Kind::Operator) && token.value == text)
    };
    let (before, after) = (index.checked_sub(1), Some(index + 1));
    !operator(before, "::") && !operator(after, "(") && !operator(after, ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_renamed_where_it_is_one() {
        for (text, renamed) in [
            ("a > 0 and A < 9", "b > 0 and b < 9"),
            ("\"a\" + t.a", "b + t.b"),
            ("a(1) || 'a' || a::text", "a(1) || 'a' || b::text"),
            ("aa > 1", "aa > 1"),
        ] {
            assert_eq!(with_column_renamed(text, "a", "b"), renamed);
        }
    }
}

//! Names: folding of identifiers, and the name PostgreSQL gives to a column that has none (`FigureColname`).

use sqlparser::ast;

use super::expression::types::type_name;

pub use crate::sql::fold;

/// The last part of a qualified name, folded.
pub fn last_name(name: &ast::ObjectName) -> String {
    name.0.last().and_then(ast::ObjectNamePart::as_ident).map(fold).unwrap_or_default()
}

/// The parts of a qualified name, folded.
pub fn parts(name: &ast::ObjectName) -> Vec<String> {
    name.0.iter().filter_map(ast::ObjectNamePart::as_ident).map(fold).collect()
}

/// The name of an output column without an alias.
pub fn column_name(expr: &ast::Expr) -> String {
    figure(expr).map_or_else(|| "?column?".to_owned(), |(name, _)| name)
}

/// How good a name is: a cast's type gives way to nothing, but anything better replaces it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    Weak,
    Strong,
}

type Figured = Option<(String, Strength)>;

fn strong(name: impl Into<String>) -> Figured {
    Some((name.into(), Strength::Strong))
}

fn figure(expr: &ast::Expr) -> Figured {
    match expr {
        ast::Expr::Identifier(ident) => strong(fold(ident)),
        ast::Expr::CompoundIdentifier(parts) => parts.last().and_then(|part| strong(fold(part))),
        ast::Expr::CompoundFieldAccess { root, access_chain } => field_name(access_chain).or_else(|| figure(root)),
        ast::Expr::Nested(inner) | ast::Expr::Collate { expr: inner, .. } => figure(inner),
        ast::Expr::Function(function) => strong(function_name(function)),
        ast::Expr::Cast { expr, data_type, .. } => cast_name(figure(expr), data_type),
        ast::Expr::TypedString(typed) => cast_name(None, &typed.data_type),
        ast::Expr::Interval(_) => Some(("interval".to_owned(), Strength::Weak)),
        ast::Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some((name, Strength::Strong)) => strong(name),
            Some((_, Strength::Weak)) | None => Some(("case".to_owned(), Strength::Weak)),
        },
        ast::Expr::Exists { negated: false, .. } => strong("exists"),
        ast::Expr::Subquery(query) => subquery_name(query),
        ast::Expr::Array(_) => strong("array"),
        ast::Expr::Tuple(_) => strong("row"),
        ast::Expr::Extract { .. } => strong("extract"),
        ast::Expr::Position { .. } => strong("position"),
        ast::Expr::Substring { .. } => strong("substring"),
        ast::Expr::Overlay { .. } => strong("overlay"),
        ast::Expr::Trim { trim_where, .. } => strong(trim_function(trim_where.as_ref())),
        ast::Expr::Ceil { .. } => strong("ceil"),
        ast::Expr::Floor { .. } => strong("floor"),
        ast::Expr::AtTimeZone { .. } => strong("timezone"),
        ast::Expr::BinaryOp { op: ast::BinaryOperator::Overlaps, .. } => strong("overlaps"),
        ast::Expr::IsNormalized { .. } => strong("is_normalized"),
        _ => None,
    }
}

fn field_name(chain: &[ast::AccessExpr]) -> Figured {
    chain.iter().rev().find_map(|access| match access {
        ast::AccessExpr::Dot(ast::Expr::Identifier(ident)) => strong(fold(ident)),
        ast::AccessExpr::Dot(_) | ast::AccessExpr::Subscript(_) => None,
    })
}

fn cast_name(inner: Figured, data_type: &ast::DataType) -> Figured {
    match inner {
        Some((name, Strength::Strong)) => strong(name),
        Some((_, Strength::Weak)) | None => Some((type_name(data_type), Strength::Weak)),
    }
}

fn function_name(function: &ast::Function) -> String {
    match last_name(&function.name).as_str() {
        "user" => "user".to_owned(),
        other => other.to_owned(),
    }
}

fn subquery_name(query: &ast::Query) -> Figured {
    let mut body = query.body.as_ref();
    loop {
        match body {
            ast::SetExpr::Select(select) => {
                return match select.projection.first()? {
                    ast::SelectItem::ExprWithAlias { alias, .. } => strong(fold(alias)),
                    ast::SelectItem::UnnamedExpr(expr) => strong(column_name(expr)),
                    _ => None,
                };
            }
            ast::SetExpr::Query(inner) => body = &inner.body,
            ast::SetExpr::SetOperation { left, .. } => body = left,
            ast::SetExpr::Values(_) => return strong("column1"),
            _ => return None,
        }
    }
}

/// The function that TRIM stands for.
pub fn trim_function(side: Option<&ast::TrimWhereField>) -> &'static str {
    match side {
        None | Some(ast::TrimWhereField::Both) => "btrim",
        Some(ast::TrimWhereField::Leading) => "ltrim",
        Some(ast::TrimWhereField::Trailing) => "rtrim",
    }
}

/// The names made unique, so that they can be the columns of a plan: `a, a` becomes `a, a:2`.
pub fn unique<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let mut unique = Vec::new();
    for name in names {
        let mut candidate = name.to_owned();
        let mut count = 1;
        while !seen.insert(candidate.clone()) {
            count += 1;
            candidate = format!("{name}:{count}");
        }
        unique.push(candidate);
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_names_never_clash() {
        assert_eq!(unique(["a", "a", "a:2", "a"]), ["a", "a:2", "a:2:2", "a:3"]);
    }
}

//! `lakegate.expectations`: the rules of data quality, each with the text that made it.

use arrow::record_batch::RecordBatch;

use crate::builtins::functions::names::quote;
use crate::builtins::tables::listing::{Listed, relations, role_name};
use crate::builtins::tables::rows::Request;
use crate::catalog::Document;
use crate::encode::types::{PgType, format_type};
use crate::error::Result;
use crate::quality::{Expectation, ExpectationRule, SchemaColumn};

pub(super) fn rows(request: &Request<'_>) -> Result<RecordBatch> {
    let context = request.context();
    let tables: Vec<Listed<'_>> =
        relations(context).into_iter().filter(|relation| relation.is_accessible(context)).collect();
    let rules: Vec<(&Listed<'_>, &Expectation)> = tables
        .iter()
        .flat_map(|listed| {
            let rules = listed.table().map(|table| table.expectations.as_slice()).unwrap_or_default();
            rules.iter().map(move |rule| (listed, rule))
        })
        .collect();
    request
        .rows(&rules)
        .set("oid", |(_, rule)| rule.oid)
        .set("table_oid", |(table, _)| table.oid)
        .set("table_schema", |(table, _)| table.schema)
        .set("table_name", |(table, _)| table.name)
        .set("table_owner", |(table, _)| role_name(context, table.owner))
        .set("name", |(_, rule)| rule.name.as_str())
        .set("kind", |(_, rule)| rule.rule.kind())
        .set("expectation", |(_, rule)| text(&rule.rule, &context.catalog))
        .set("filter", |(_, rule)| rule.filter.as_deref())
        .set("on_violation", |(_, rule)| rule.action.words())
        .set("on_commit", |(_, rule)| rule.on_commit)
        .set("enabled", |(_, rule)| rule.enabled)
        .set("severity", |(_, rule)| rule.options.severity.word())
        .set("mostly", |(_, rule)| rule.options.mostly)
        .set("ignore_nulls", |(_, rule)| rule.options.ignore_nulls)
        .set("description", |(_, rule)| rule.options.description.as_deref())
        .finish()
}

/// What stands in EXPECT (…).
fn text(rule: &ExpectationRule, catalog: &Document) -> String {
    match rule {
        ExpectationRule::Row { condition } | ExpectationRule::Aggregate { condition } => condition.clone(),
        ExpectationRule::Unique { columns } => format!("UNIQUE ({})", list(columns)),
        ExpectationRule::ForeignKey { columns, table, referenced } => {
            let other = match catalog.relation_by_oid(*table) {
                Some((schema, name, _)) => format!("{}.{}", quote(schema), quote(name)),
                None => format!("(OID={table})"),
            };
            format!("FOREIGN KEY ({}) REFERENCES {other} ({})", list(columns), list(referenced))
        }
        ExpectationRule::Freshness { expression, limit } => format!("FRESHNESS ({expression}) < {limit}"),
        ExpectationRule::RowCount { comparison } => format!("ROW COUNT {comparison}"),
        ExpectationRule::Schema { columns, exact } => {
            let columns: Vec<String> = columns.iter().map(column).collect();
            format!("SCHEMA {} ({})", if *exact { "MATCHES" } else { "CONTAINS" }, columns.join(", "))
        }
    }
}

fn list(columns: &[String]) -> String {
    columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ")
}

fn column(column: &SchemaColumn) -> String {
    let mut text = quote(&column.name);
    if column.type_oid != 0 {
        text.push(' ');
        text.push_str(&format_type(PgType { oid: column.type_oid, typmod: column.typmod }));
    }
    if column.not_null {
        text.push_str(" NOT NULL");
    }
    text
}

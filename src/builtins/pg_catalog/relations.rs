//! Relations, their columns, schemas and comments: `pg_class`, `pg_attribute`, `pg_namespace`, `pg_description` and the
//! views over them.

use arrow::record_batch::RecordBatch;

use super::fixed::DELTA_ACCESS_METHOD;
use super::types;
use crate::builtins::tables::listing::{
    Listed, ListedColumn, REWRITE_RULE_BIT, ROW_TYPE_BIT, default_oid, relations, role_name, schemas,
};
use crate::builtins::tables::rows::Request;
use crate::encode::types::{TypeInfo, element_of, type_info};
use crate::error::Result;

/// OIDs of the catalogs that comments and dependencies refer to.
const PG_CLASS: u32 = 1259;
const PG_NAMESPACE: u32 = 2615;
const PG_REWRITE: u32 = 2618;

pub(super) fn pg_class(request: &Request<'_>) -> Result<RecordBatch> {
    let relations = relations(request.context());
    request
        .rows(&relations)
        .set("oid", |relation| relation.oid)
        .set("relname", |relation| relation.name)
        .set("relnamespace", |relation| relation.schema_oid)
        .set("reltype", |relation| relation.oid | ROW_TYPE_BIT)
        .set("relowner", |relation| relation.owner)
        .set("relam", |relation| if relation.table().is_some() { DELTA_ACCESS_METHOD } else { 0 })
        .set("relfilenode", |relation| if matches!(relation.kind, 'r' | 'm') { relation.oid } else { 0 })
        // -1: nobody has counted.
        .set("reltuples", |relation| if matches!(relation.kind, 'r' | 'm') { -1.0 } else { 0.0 })
        .set("relpersistence", |relation| if relation.schema.starts_with("pg_temp_") { 't' } else { 'p' })
        .set("relkind", |relation| relation.kind)
        .set("relnatts", |relation| relation.columns.len() as i64)
        .set("relchecks", |relation| relation.table().map_or(0, |table| table.checks.len() as i64))
        .set("relhasrules", |relation| matches!(relation.kind, 'v' | 'm'))
        .set("relispopulated", |relation| is_populated(relation))
        .set("relreplident", |relation| if relation.table().is_some() { 'd' } else { 'n' })
        .finish()
}

fn is_populated(relation: &Listed<'_>) -> bool {
    let materialized = relation.table().and_then(|table| table.materialized.as_ref());
    materialized.is_none_or(|materialized| materialized.populated)
}

pub(super) fn pg_matviews(request: &Request<'_>) -> Result<RecordBatch> {
    let context = request.context();
    let views: Vec<Listed<'_>> = relations(context).into_iter().filter(|relation| relation.kind == 'm').collect();
    request
        .rows(&views)
        .set("schemaname", |view| view.schema)
        .set("matviewname", |view| view.name)
        .set("matviewowner", |view| role_name(context, view.owner))
        .set("hasindexes", |_| false)
        .set("ispopulated", |view| is_populated(view))
        .set("definition", |view| view.view().map(|view| view.query.as_str()))
        .finish()
}

pub(super) fn pg_attribute(request: &Request<'_>) -> Result<RecordBatch> {
    let relations = relations(request.context());
    let attributes: Vec<(u32, &ListedColumn<'_>, Option<&TypeInfo>)> = relations
        .iter()
        .flat_map(|relation| relation.columns.iter().map(|column| (relation.oid, column, type_info(column.ty.oid))))
        .collect();
    request
        .rows(&attributes)
        .set("attrelid", |(relation, ..)| *relation)
        .set("attname", |(_, column, _)| column.name)
        .set("atttypid", |(_, column, _)| column.ty.oid)
        .set("attlen", |(_, _, ty)| ty.map_or(-1, |ty| ty.typlen))
        .set("attnum", |(_, column, _)| column.number)
        .set("attcacheoff", |_| -1)
        .set("atttypmod", |(_, column, _)| column.ty.typmod)
        .set("attndims", |(_, column, _)| i64::from(element_of(column.ty.oid).is_some()))
        .set("attbyval", |(_, _, ty)| ty.is_some_and(|ty| ty.typbyval))
        .set("attalign", |(_, _, ty)| ty.map_or('i', |ty| ty.typalign))
        .set("attstorage", |(_, _, ty)| ty.map_or('x', |ty| ty.typstorage))
        .set("attnotnull", |(_, column, _)| column.not_null)
        .set("atthasdef", |(_, column, _)| column.value.is_some())
        .set("attgenerated", |(_, column, _)| if column.generated { "s" } else { "" })
        .set("attislocal", |_| true)
        .set("attcollation", |(_, column, _)| types::collation(column.ty.oid))
        .finish()
}

/// Defaults, and what columns are generated from.
pub(super) fn pg_attrdef(request: &Request<'_>) -> Result<RecordBatch> {
    let relations = relations(request.context());
    let defaults: Vec<(u32, i16, &str)> = relations
        .iter()
        .flat_map(|relation| relation.columns.iter().map(|column| (relation.oid, column)))
        .filter_map(|(relation, column)| Some((relation, column.number, column.value?)))
        .collect();
    request
        .rows(&defaults)
        .set("oid", |(relation, number, _)| default_oid(*relation, *number))
        .set("adrelid", |(relation, ..)| *relation)
        .set("adnum", |(_, number, _)| *number)
        .set("adbin", |(.., text)| *text)
        .finish()
}

pub(super) fn pg_namespace(request: &Request<'_>) -> Result<RecordBatch> {
    let context = request.context();
    let schemas = schemas(context);
    request
        .rows(&schemas)
        .set("oid", |schema| schema.oid)
        .set("nspname", |schema| schema.name)
        .set("nspowner", |schema| schema.owner)
        .set("nspacl", |schema| schema.system.then(|| usage_for_all(&role_name(context, schema.owner))))
        .finish()
}

/// The access list of a system schema: its owner may do all, everybody may use it.
fn usage_for_all(owner: &str) -> Vec<String> {
    vec![format!("{owner}=UC/{owner}"), format!("=U/{owner}")]
}

/// A comment: the object, its catalog, the column's number or 0.
struct Comment<'a> {
    object: u32,
    catalog: u32,
    column: i32,
    text: &'a str,
}

pub(super) fn pg_description(request: &Request<'_>) -> Result<RecordBatch> {
    let relations = relations(request.context());
    let schemas = schemas(request.context());
    let mut comments: Vec<Comment<'_>> = Vec::new();
    for schema in &schemas {
        let comment = schema.comment.map(|text| Comment { object: schema.oid, catalog: PG_NAMESPACE, column: 0, text });
        comments.extend(comment);
    }
    for relation in &relations {
        let of_relation = relation.comment.map(|text| (0, text)).into_iter();
        let of_columns =
            relation.columns.iter().filter_map(|column| column.comment.map(|text| (i32::from(column.number), text)));
        let all = of_relation.chain(of_columns);
        comments.extend(all.map(|(column, text)| Comment { object: relation.oid, catalog: PG_CLASS, column, text }));
    }
    request
        .rows(&comments)
        .set("objoid", |comment| comment.object)
        .set("classoid", |comment| comment.catalog)
        .set("objsubid", |comment| comment.column)
        .set("description", |comment| comment.text)
        .finish()
}

/// The rule behind each view.
pub(super) fn pg_rewrite(request: &Request<'_>) -> Result<RecordBatch> {
    let views: Vec<Listed<'_>> =
        relations(request.context()).into_iter().filter(|relation| relation.view().is_some()).collect();
    request
        .rows(&views)
        .set("oid", |view| view.oid | REWRITE_RULE_BIT)
        .set("rulename", |_| "_RETURN")
        .set("ev_class", |view| view.oid)
        .set("ev_type", |_| '1')
        .set("ev_enabled", |_| 'O')
        .set("is_instead", |_| true)
        .finish()
}

/// A view's rule depends on the view itself and on the relations in its query.
pub(super) fn pg_depend(request: &Request<'_>) -> Result<RecordBatch> {
    let relations = relations(request.context());
    let mut dependencies: Vec<(u32, u32, char)> = Vec::new();
    for relation in &relations {
        let Some(view) = relation.view() else { continue };
        let rule = relation.oid | REWRITE_RULE_BIT;
        dependencies.push((rule, relation.oid, 'i'));
        dependencies.extend(view.depends_on.iter().map(|read| (rule, *read, 'n')));
    }
    request
        .rows(&dependencies)
        .set("classid", |_| PG_REWRITE)
        .set("objid", |(rule, ..)| *rule)
        .set("refclassid", |_| PG_CLASS)
        .set("refobjid", |(_, relation, _)| *relation)
        .set("deptype", |(.., kind)| *kind)
        .finish()
}

pub(super) fn pg_tables(request: &Request<'_>) -> Result<RecordBatch> {
    let context = request.context();
    let tables: Vec<Listed<'_>> = relations(context).into_iter().filter(|relation| relation.kind == 'r').collect();
    request
        .rows(&tables)
        .set("schemaname", |table| table.schema)
        .set("tablename", |table| table.name)
        .set("tableowner", |table| role_name(context, table.owner))
        .set("hasindexes", |_| false)
        .set("hasrules", |_| false)
        .set("hastriggers", |_| false)
        .set("rowsecurity", |_| false)
        .finish()
}

pub(super) fn pg_views(request: &Request<'_>) -> Result<RecordBatch> {
    let context = request.context();
    let views: Vec<Listed<'_>> = relations(context).into_iter().filter(|relation| relation.kind == 'v').collect();
    request
        .rows(&views)
        .set("schemaname", |view| view.schema)
        .set("viewname", |view| view.name)
        .set("viewowner", |view| role_name(context, view.owner))
        .set("definition", |view| view.view().map(|view| view.query.as_str()))
        .finish()
}

/// `pg_stat_…_tables`: which tables there are. Nothing is counted per table, so the counters are NULL.
pub(super) fn pg_stat_tables(request: &Request<'_>, wanted: impl Fn(&Listed<'_>) -> bool) -> Result<RecordBatch> {
    let tables: Vec<Listed<'_>> =
        relations(request.context()).into_iter().filter(|relation| relation.kind == 'r' && wanted(relation)).collect();
    request
        .rows(&tables)
        .set("relid", |table| table.oid)
        .set("schemaname", |table| table.schema)
        .set("relname", |table| table.name)
        .finish()
}

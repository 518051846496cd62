//! `schemata`, `tables`, `views`.

use arrow::record_batch::RecordBatch;

use super::{accessible, yes_or_no};
use crate::builtins::tables::listing::{Listed, ListedSchema, has_role, role_name, schemas};
use crate::builtins::tables::rows::Request;
use crate::error::Result;

/// Schemas that the role owns or may use; everybody may use the system's.
pub(super) fn schemata(request: &Request<'_>) -> Result<RecordBatch> {
    let context = request.context();
    let database = context.catalog.database.name.as_str();
    let visible = |schema: &ListedSchema<'_>| schema.system || has_role(context, schema.owner);
    let schemas: Vec<ListedSchema<'_>> = schemas(context).into_iter().filter(visible).collect();
    request
        .rows(&schemas)
        .set("catalog_name", |_| database)
        .set("schema_name", |schema| schema.name)
        .set("schema_owner", |schema| role_name(context, schema.owner))
        .finish()
}

pub(super) fn tables(request: &Request<'_>) -> Result<RecordBatch> {
    let database = request.context().catalog.database.name.as_str();
    let relations = accessible(request.context());
    request
        .rows(&relations)
        .set("table_catalog", |_| database)
        .set("table_schema", |relation| relation.schema)
        .set("table_name", |relation| relation.name)
        .set("table_type", |relation| match relation.kind {
            'v' => "VIEW",
            'f' => "FOREIGN",
            _ if relation.schema.starts_with("pg_temp_") => "LOCAL TEMPORARY",
            _ => "BASE TABLE",
        })
        .set("is_insertable_into", |relation| yes_or_no(relation.table().is_some()))
        .set("is_typed", |_| "NO")
        .finish()
}

/// The text of a view is shown to those who have its owner's role.
pub(super) fn views(request: &Request<'_>) -> Result<RecordBatch> {
    let context = request.context();
    let database = context.catalog.database.name.as_str();
    let views: Vec<Listed<'_>> = accessible(context).into_iter().filter(|relation| relation.kind == 'v').collect();
    request
        .rows(&views)
        .set("table_catalog", |_| database)
        .set("table_schema", |view| view.schema)
        .set("table_name", |view| view.name)
        .set("view_definition", |view| {
            view.view().filter(|_| has_role(context, view.owner)).map(|definition| definition.query.as_str())
        })
        .set("check_option", |_| "NONE")
        .set("is_updatable", |_| "NO")
        .set("is_insertable_into", |_| "NO")
        .set("is_trigger_updatable", |_| "NO")
        .set("is_trigger_deletable", |_| "NO")
        .set("is_trigger_insertable_into", |_| "NO")
        .finish()
}

/// The relations that views of this role read.
pub(super) fn view_table_usage(request: &Request<'_>) -> Result<RecordBatch> {
    let context = request.context();
    let database = context.catalog.database.name.as_str();
    let relations = accessible(context);
    let mut uses: Vec<(&Listed<'_>, &Listed<'_>)> = Vec::new();
    for view in &relations {
        let read = view.view().map_or(&[][..], |definition| &definition.depends_on);
        uses.extend(relations.iter().filter(|relation| read.contains(&relation.oid)).map(|relation| (view, relation)));
    }
    request
        .rows(&uses)
        .set("view_catalog", |_| database)
        .set("view_schema", |(view, _)| view.schema)
        .set("view_name", |(view, _)| view.name)
        .set("table_catalog", |_| database)
        .set("table_schema", |(_, relation)| relation.schema)
        .set("table_name", |(_, relation)| relation.name)
        .finish()
}

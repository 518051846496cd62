//! What the catalog repeats of a table's definition, so that `pg_catalog` opens no table. The Delta log has the say: what
//! another program changed, or what a crash kept from the catalog, is recorded when the table is next seen.

use crate::catalog::{Check, Column, Document, Relation, RelationKind};
use crate::lake::{self, ColumnSpec};

/// A table's definition at one version.
#[derive(Debug, Clone)]
pub struct Recorded {
    version: u64,
    columns: Vec<Column>,
    partition_columns: Vec<String>,
    /// Names and SQL texts.
    checks: Vec<(String, String)>,
    comment: Option<String>,
}

impl Recorded {
    pub fn of(table: &lake::Table) -> Self {
        let checks = table.check_constraints().into_iter().map(|check| (check.name, check.expression));
        Self {
            version: table.known_version(),
            columns: table.columns().iter().map(catalog_column).collect(),
            partition_columns: table.partition_columns().to_vec(),
            checks: checks.collect(),
            comment: table.description().map(str::to_owned),
        }
    }

    /// Whether the catalog has an older definition than this version of the table.
    pub fn is_news(table: &lake::Table, relation: &Relation) -> bool {
        let RelationKind::Table(recorded) = &relation.kind else { return false };
        if table.is_private() || table.known_version() <= recorded.version {
            return false;
        }
        let same_columns = table.columns().len() == relation.columns.len()
            && table.columns().iter().zip(&relation.columns).all(|(spec, column)| catalog_column(spec) == *column);
        let checks = table.check_constraints();
        let same_checks = checks.len() == recorded.checks.len()
            && checks.iter().all(|check| {
                recorded.checks.iter().any(|old| old.name == check.name && old.expression == check.expression)
            });
        !same_columns
            || !same_checks
            || table.partition_columns() != recorded.partition_columns
            || table.description() != relation.comment.as_deref()
    }

    /// Writes it into the catalog, unless a newer one is there. Constraints that stay keep their OIDs.
    pub fn apply(&self, document: &mut Document, oid: u32) {
        let taken = self.checks.len() as u32;
        let first_oid = document.next_oid;
        let Some(relation) = relation_mut(document, oid) else { return };
        let RelationKind::Table(table) = &mut relation.kind else { return };
        if table.version > self.version {
            return;
        }
        let old = std::mem::take(&mut table.checks);
        let mut next = first_oid;
        for (name, expression) in &self.checks {
            let known = old.iter().find(|check| check.name == *name).map(|check| check.oid);
            let oid = known.unwrap_or(next);
            next += u32::from(known.is_none());
            table.checks.push(Check { oid, name: name.clone(), expression: expression.clone() });
        }
        table.version = self.version;
        table.partition_columns.clone_from(&self.partition_columns);
        relation.columns.clone_from(&self.columns);
        relation.comment.clone_from(&self.comment);
        document.next_oid = document.next_oid.max(next.min(first_oid + taken));
    }
}

/// The relation with that OID.
pub fn relation_mut(document: &mut Document, oid: u32) -> Option<&mut Relation> {
    let mut relations = document.schemas.values_mut().flat_map(|schema| schema.relations.values_mut());
    relations.find(|relation| relation.oid == oid)
}

pub fn catalog_column(column: &ColumnSpec) -> Column {
    Column {
        name: column.name.clone(),
        type_oid: column.ty.oid,
        typmod: column.ty.typmod,
        not_null: column.not_null,
        comment: column.comment.clone(),
        default: column.default.clone(),
        generated: column.generated.clone(),
    }
}

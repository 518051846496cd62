//! A table's definition while ALTER TABLE's actions change it one after another: columns with where their values come from,
//! constraints, and what the rows that are there must be asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::logical_expr::Expr;

use super::properties;
use super::row_rules::RuleEdit;
use crate::encode::types::{PgType, arrow_type, oid};
use crate::error::{Error, Result, SqlState};
use crate::lake::{ColumnSpec, RedefinedColumn, Redefinition, RowsUnder, Table, TableCheck};
use crate::plan::relations::RelationColumn;
use crate::plan::resolve::column_of;
use crate::quality::ViolationAction;
use crate::sql::{column_names, parse_expression, with_column_renamed};

pub(super) struct Draft {
    /// The table's schema and name, for messages.
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) table: Arc<Table>,
    pub(super) old: Vec<RelationColumn>,
    pub(super) columns: Vec<DraftColumn>,
    pub(super) checks: Vec<TableCheck>,
    partition_columns: Vec<String>,
    clustered_by: Vec<String>,
    /// What changes of the properties and of the comment.
    changes: Redefinition,
    /// Whether the files do not fit the new definition.
    pub(super) rewrites: bool,
    /// Asked of the rows, when they are not rewritten.
    pub(super) scans: Vec<Scan>,
    /// Views that CASCADE takes along, by schema and name.
    pub(super) views: BTreeSet<(String, String)>,
    /// Old and new names.
    pub(super) renamed: Option<(String, String)>,
    pub(super) owner: Option<u32>,
    /// Whether the table itself, not the catalog alone, changes.
    pub(super) changes_table: bool,
    /// What becomes of the expectations.
    pub(super) rules: Vec<RuleEdit>,
    /// Columns that go, or get another type, with the expectations that read them.
    pub(super) unread: Vec<String>,
}

pub(super) struct DraftColumn {
    pub(super) spec: ColumnSpec,
    /// The old column that it is, of the same type.
    kept: Option<usize>,
    /// Over the old columns.
    pub(super) value: Expr,
}

/// A condition on the rows that are there.
pub(super) enum Scan {
    /// The column's number.
    NotNull(usize),
    /// Its name.
    Check(String),
}

impl Draft {
    pub(super) fn new((schema, name): (&str, &str), table: &Arc<Table>) -> Self {
        let columns = table.columns().iter().enumerate().map(|(number, spec)| DraftColumn {
            spec: spec.clone(),
            kept: Some(number),
            value: Expr::Column(Column::from_name(&spec.name)),
        });
        Self {
            schema: schema.to_owned(),
            name: name.to_owned(),
            table: Arc::clone(table),
            old: table.columns().iter().map(column_of).collect(),
            columns: columns.collect(),
            checks: table.check_constraints(),
            partition_columns: table.partition_columns().to_vec(),
            clustered_by: properties::clustered_by(table.properties()),
            changes: Redefinition::unchanged(table),
            rewrites: false,
            scans: Vec::new(),
            views: BTreeSet::new(),
            renamed: None,
            owner: None,
            changes_table: true,
            rules: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// Whether rows are put apart from now on.
    pub(super) fn puts_apart(&self) -> bool {
        self.rules.iter().any(|edit| match edit {
            RuleEdit::Add(rule) => rule.action == ViolationAction::QuarantineRow,
            RuleEdit::Drop(_) | RuleEdit::Rename { .. } | RuleEdit::RenameColumn { .. } => false,
        })
    }

    pub(super) fn has_rows(&self) -> bool {
        self.table.num_files() > 0
    }

    pub(super) fn specs(&self) -> Vec<ColumnSpec> {
        self.columns.iter().map(|column| column.spec.clone()).collect()
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.spec.name == name)
    }

    /// The column, or 42703.
    pub(super) fn column(&self, name: &str) -> Result<usize> {
        self.find(name).ok_or_else(|| {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", self.name);
            Error::new(SqlState::UndefinedColumn, message)
        })
    }

    pub(super) fn spec_mut(&mut self, index: usize) -> Result<&mut ColumnSpec> {
        let column = self.columns.get_mut(index).map(|column| &mut column.spec);
        column.ok_or_else(|| Error::internal("a column of ALTER TABLE is gone"))
    }

    pub(super) fn spec(&self, index: usize) -> Result<&ColumnSpec> {
        let column = self.columns.get(index).map(|column| &column.spec);
        column.ok_or_else(|| Error::internal("a column of ALTER TABLE is gone"))
    }

    /// A new column; its value in the rows that are there is NULL when none is given.
    pub(super) fn add_column(&mut self, spec: ColumnSpec, value: Option<Expr>) {
        self.rewrites |= value.is_some() && self.has_rows();
        let value = value.unwrap_or_else(|| null(spec.ty));
        if spec.not_null {
            self.scans.push(Scan::NotNull(self.columns.len()));
        }
        self.columns.push(DraftColumn { spec, kept: None, value });
    }

    /// Takes a column away, and the constraints over it.
    pub(super) fn drop_column(&mut self, index: usize) -> Result<()> {
        let name = self.spec(index)?.name.clone();
        if self.partition_columns.contains(&name) {
            let message = format!(
                "cannot drop column \"{name}\" because it is part of the partition key of relation \"{}\"",
                self.name
            );
            return Err(Error::new(SqlState::InvalidTableDefinition, message));
        }
        let over: Vec<String> = self
            .checks
            .iter()
            .filter(|check| reads(&check.expression, &name))
            .map(|check| check.name.clone())
            .collect();
        over.iter().for_each(|check| self.drop_check(check));
        self.clustered_by.retain(|column| *column != name);
        self.columns.remove(index);
        self.rewrites |= self.has_rows();
        Ok(())
    }

    /// Generated columns that read the column.
    pub(super) fn generated_from(&self, name: &str) -> Vec<String> {
        let generated =
            self.columns.iter().filter(|column| column.spec.generated.as_deref().is_some_and(|text| reads(text, name)));
        generated.map(|column| column.spec.name.clone()).collect()
    }

    /// Gives a column another name, also in the expressions over it.
    pub(super) fn rename_column(&mut self, index: usize, to: &str) -> Result<()> {
        let from = std::mem::replace(&mut self.spec_mut(index)?.name, to.to_owned());
        let quoted = properties::quoted(to);
        for column in &mut self.columns {
            if let Some(text) = &mut column.spec.generated {
                *text = with_column_renamed(text, &from, &quoted);
            }
        }
        for check in &mut self.checks {
            let text = with_column_renamed(&check.expression, &from, &quoted);
            if text != check.expression {
                check.expression.clone_from(&text);
                if check.null_passes {
                    self.changes.add_check(&check.name, &text);
                } else {
                    return Err(Error::unsupported("renaming a column in a constraint that another program made"));
                }
            }
        }
        let rename = |names: &mut Vec<String>| {
            names.iter_mut().filter(|name| **name == from).for_each(|name| to.clone_into(name));
        };
        rename(&mut self.partition_columns);
        rename(&mut self.clustered_by);
        self.rewrites |= self.has_rows();
        self.rules.push(RuleEdit::RenameColumn { from: from.clone(), to: to.to_owned() });
        self.renamed = Some((from, to.to_owned()));
        Ok(())
    }

    /// Another type, and the value in it.
    pub(super) fn set_type(&mut self, index: usize, ty: PgType, value: Expr) -> Result<()> {
        let old = self.spec(index)?.ty;
        let has_rows = self.has_rows();
        let Some(column) = self.columns.get_mut(index) else { return Ok(()) };
        column.spec.ty = ty;
        column.kept = None;
        if !is_wider_text(old, ty) {
            column.value = value;
            self.rewrites |= has_rows;
        }
        Ok(())
    }

    pub(super) fn add_check(&mut self, name: String, expression: String) {
        self.changes.add_check(&name, &expression);
        self.scans.push(Scan::Check(name.clone()));
        self.checks.push(TableCheck { name, expression, null_passes: true });
    }

    pub(super) fn drop_check(&mut self, name: &str) {
        self.checks.retain(|check| check.name != name);
        self.scans.retain(|scan| !matches!(scan, Scan::Check(other) if other == name));
        self.changes.remove_check(name);
    }

    pub(super) fn rename_check(&mut self, from: &str, to: &str) -> Result<()> {
        let Some(check) = self.checks.iter_mut().find(|check| check.name == from) else { return Ok(()) };
        if !check.null_passes {
            return Err(Error::unsupported("renaming a constraint that another program made"));
        }
        to.clone_into(&mut check.name);
        let expression = check.expression.clone();
        self.changes.remove_check(from);
        self.changes.add_check(to, &expression);
        Ok(())
    }

    pub(super) fn set_property(&mut self, key: &str, value: Option<&str>) {
        self.changes.properties.insert(key.to_owned(), value.map(str::to_owned));
    }

    pub(super) fn has_property(&self, key: &str) -> bool {
        match self.changes.properties.get(key) {
            Some(value) => value.is_some(),
            None => self.table.properties().contains_key(key),
        }
    }

    pub(super) fn cluster_by(&mut self, columns: Vec<String>) {
        self.clustered_by = columns;
    }

    pub(super) fn set_comment(&mut self, text: Option<String>) {
        self.changes.comment = Some(text);
    }

    /// The definition to commit.
    pub(super) fn redefinition(&self) -> Redefinition {
        let mut redefinition = self.changes.clone();
        redefinition.columns = self
            .columns
            .iter()
            .map(|column| RedefinedColumn { spec: column.spec.clone(), kept: column.kept })
            .collect();
        redefinition.partition_columns.clone_from(&self.partition_columns);
        if self.clustered_by != properties::clustered_by(self.table.properties()) {
            let list: Vec<String> = self.clustered_by.iter().map(|name| properties::quoted(name)).collect();
            let value = Some(list.join(",")).filter(|list| !list.is_empty());
            redefinition.properties.insert(properties::CLUSTER_BY.to_owned(), value);
        }
        redefinition.rows = match (self.rewrites, self.scans.is_empty()) {
            (true, _) => RowsUnder::Rewritten,
            (false, false) => RowsUnder::Checked,
            // A table without files is not rewritten: rows that come meanwhile would have asked for it.
            (false, true) if self.renamed.is_some() || self.columns.len() != self.old.len() => RowsUnder::Checked,
            (false, true) => RowsUnder::Untouched,
        };
        redefinition
    }
}

/// Whether the text's expression names the column.
fn reads(text: &str, column: &str) -> bool {
    parse_expression(text).is_ok_and(|expression| column_names(&expression).contains(column))
}

fn null(ty: PgType) -> Expr {
    use datafusion::common::ScalarValue;
    Expr::Literal(ScalarValue::try_from(&arrow_type(ty)).unwrap_or(ScalarValue::Null), None)
}

/// Whether every text of the one type is one of the other as it is stored.
fn is_wider_text(from: PgType, to: PgType) -> bool {
    let is_text = |ty: PgType| matches!(ty.oid, oid::TEXT | oid::VARCHAR);
    let length = |ty: PgType| ty.length_max();
    is_text(from)
        && is_text(to)
        && match (length(from), length(to)) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(from), Some(to)) => from <= to,
        }
}

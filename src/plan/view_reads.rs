//! What a view's query names, as it was when the view was made: relations and columns that are renamed keep their place in
//! it, columns that came later are not seen.

use std::sync::Arc;

use super::relations::{Relation, RelationColumn, Relations, ResolvedView};
use crate::catalog::{ReadColumn, ViewRead};
use crate::error::{Error, Result};
use crate::sql;

impl Relation {
    pub fn columns(&self) -> &[RelationColumn] {
        match self {
            Self::Table(table) => &table.columns,
            Self::View(view) => &view.columns,
        }
    }

    /// The relation as a query that was written earlier knows it.
    ///
    /// # Errors
    /// Only what the parser gives, which cannot be.
    pub fn as_read(self, read: &ViewRead) -> Result<Self> {
        self.with_columns(&read.name, &read.columns)
    }

    /// The relation without one column.
    ///
    /// # Errors
    /// As [`Relation::as_read`].
    pub fn without(self, name: &str, column: &str) -> Result<Self> {
        let kept = self.columns().iter().filter(|other| other.name != column);
        let kept: Vec<ReadColumn> =
            kept.map(|column| ReadColumn { name: column.name.clone(), now: column.name.clone() }).collect();
        self.with_columns(name, &kept)
    }

    fn with_columns(self, name: &str, wanted: &[ReadColumn]) -> Result<Self> {
        let has = |wanted: &ReadColumn| self.columns().iter().find(|column| column.name == wanted.now);
        let there: Vec<(&ReadColumn, &RelationColumn)> =
            wanted.iter().filter_map(|wanted| Some((wanted, has(wanted)?))).collect();
        let same = there.len() == self.columns().len()
            && there.iter().zip(self.columns()).all(|((wanted, _), column)| wanted.name == column.name);
        if same {
            return Ok(self);
        }
        let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let list = there.iter().map(|(wanted, _)| format!("{} AS {}", quote(&wanted.now), quote(&wanted.name)));
        let list = list.collect::<Vec<_>>().join(", ");
        let query =
            sql::parse_query(&format!("SELECT {list} FROM {}", quote(name))).map_err(Error::without_position)?;
        let columns = there.iter().map(|(wanted, column)| RelationColumn::new(&wanted.name, column.ty)).collect();
        let (schema, oid) = match &self {
            Self::Table(table) => (table.schema.clone(), table.oid),
            Self::View(view) => (view.schema.clone(), view.oid),
        };
        let mut relations = Relations::default();
        relations.by_name.insert((None, name.to_owned()), self);
        let (query, relations) = (Arc::new(query), Arc::new(relations));
        Ok(Self::View(ResolvedView { schema, name: name.to_owned(), oid, columns, query, text: "".into(), relations }))
    }
}

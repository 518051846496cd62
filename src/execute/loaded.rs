//! What rows of files give to the columns of a table: COPY FROM a file, and COPY INTO.

use super::road::{Road, Target, relation_columns};
use crate::encode::types::{PgType, element_of, format_type, oid};
use crate::error::{Error, Result};
use crate::plan::bind::BoundQuery;
use crate::plan::relations::{Relation, RelationColumn, Relations};
use crate::plan::{self, Parameters};
use crate::sql::Name;

/// A column of the table, and those of the files that it has in turn: files may spell one name differently.
pub(super) struct FileValue {
    pub(super) column: String,
    pub(super) from: Vec<String>,
}

impl Road<'_> {
    /// The rows of files as INSERT … SELECT would put them into the target.
    pub(super) fn bind_loaded(&self, target: &Target, loaded: &[FileValue], source: Relation) -> Result<BoundQuery> {
        const SOURCE: &str = "loaded rows";
        let columns = relation_columns(&target.table);
        let type_in = |columns: &[RelationColumn], name: &str| {
            columns.iter().find(|column| column.name == name).map_or(PgType::TEXT, |column| column.ty)
        };
        let values = loaded.iter().map(|loaded| {
            let to = type_in(&columns, &loaded.column);
            let values = loaded.from.iter().map(|name| value(name, type_in(source.columns(), name), to));
            let mut values = values.collect::<Vec<_>>();
            if values.len() > 1 { format!("coalesce({})", values.join(", ")) } else { values.remove(0) }
        });
        let text = format!("SELECT {} FROM {}", values.collect::<Vec<_>>().join(", "), quoted(SOURCE));
        let query = crate::sql::parse_query(&text).map_err(Error::without_position)?;
        let mut relations = Relations::default();
        relations.by_name.insert((None, SOURCE.to_owned()), source);
        let named: Vec<Name> = loaded.iter().map(|loaded| Name { value: loaded.column.clone(), position: 0 }).collect();
        let into = plan::InsertTarget { relation: &target.name, columns: &columns, named: &named };
        plan::bind_insert(&into, Some(&query), &self.context, &relations, "", &mut Parameters::none())
    }
}

/// The value of a file's column for a table's. What an assignment would round has to be whole, as it has in a text file; and
/// what the format has no type for is read from its text.
fn value(name: &str, from: PgType, to: PgType) -> String {
    let (column, ty) = (quoted(name), format_type(to));
    let is_whole = matches!(to.oid, oid::INT2 | oid::INT4 | oid::INT8);
    match from.oid {
        oid::FLOAT4 | oid::FLOAT8 if is_whole => format!("{column}::text::{ty}"),
        oid::NUMERIC if is_whole => format!("trim_scale({column})::text::{ty}"),
        oid::TEXT if is_told_in_text(to.oid) => format!("{column}::{ty}"),
        _ => column,
    }
}

/// Types that columnar files hold as strings.
fn is_told_in_text(ty: u32) -> bool {
    matches!(ty, oid::UUID | oid::JSON | oid::JSONB | oid::INTERVAL | oid::TIME) || element_of(ty).is_some()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

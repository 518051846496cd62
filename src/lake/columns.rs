//! Columns of a table: as the engine carries them, as Delta's schema names them, and as Parquet files store them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::encode::types::{self, PgType, TYPE_KEY, format_type, parse_type};
use crate::error::{Error, Result, SqlState};

/// Key of a field's metadata that Delta's writers keep a column's comment under.
pub(super) const COMMENT_KEY: &str = "comment";
/// Keys of a field's metadata that hold the SQL text of a column's default, and of what it is generated from. They are in
/// the Delta log, so that they change with the columns in one commit.
pub(super) const DEFAULT_KEY: &str = "lakegate.default";
pub(super) const GENERATED_KEY: &str = "lakegate.generated";

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSpec {
    pub name: String,
    pub ty: PgType,
    pub not_null: bool,
    pub comment: Option<String>,
    /// SQL text of the value where none is given.
    pub default: Option<String>,
    /// SQL text of the expression over other columns that gives every value.
    pub generated: Option<String>,
}

impl ColumnSpec {
    pub fn new(name: impl Into<String>, ty: PgType) -> Self {
        Self { name: name.into(), ty, not_null: false, comment: None, default: None, generated: None }
    }

    pub fn not_null(mut self) -> Self {
        self.not_null = true;
        self
    }
}

/// A CHECK as the Delta table holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableCheck {
    pub name: String,
    /// SQL text of the condition.
    pub expression: String,
    /// PostgreSQL's meaning for ours; Delta's (NULL violates) for a foreign one.
    pub null_passes: bool,
}

/// The definition of a table that is to be made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableSpec {
    /// Path or URL.
    pub location: String,
    pub columns: Vec<ColumnSpec>,
    pub partition_columns: Vec<String>,
    /// Name and SQL text of each CHECK, with PostgreSQL's meaning of NULL.
    pub checks: Vec<(String, String)>,
    pub comment: Option<String>,
    /// Delta's table properties.
    pub properties: Vec<(String, String)>,
}

impl TableSpec {
    /// The columns in the engine's types.
    pub fn engine_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(engine_field).collect::<Vec<_>>()))
    }

    /// Refuses what a Delta table cannot hold.
    pub(super) fn validate(&self) -> Result<()> {
        if self.columns.is_empty() {
            return Err(Error::unsupported("a table without columns"));
        }
        for (index, column) in self.columns.iter().enumerate() {
            if self.columns.iter().take(index).any(|other| other.name.eq_ignore_ascii_case(&column.name)) {
                // Delta compares names without case; PostgreSQL would allow "a" beside "A".
                let message = format!("column \"{}\" specified more than once", column.name);
                return Err(Error::new(SqlState::DuplicateColumn, message)
                    .with_detail("Column names of Delta tables must differ in more than case."));
            }
            validate_type(column)?;
        }
        self.validate_partitioning()
    }

    fn validate_partitioning(&self) -> Result<()> {
        for name in &self.partition_columns {
            let Some(column) = self.columns.iter().find(|column| column.name == *name) else {
                let message = format!("column \"{name}\" named in partition key does not exist");
                return Err(Error::new(SqlState::UndefinedColumn, message));
            };
            if !can_partition(&engine_type(column.ty)) {
                return Err(Error::unsupported(format!(
                    "partitioning by column \"{name}\" of type {}",
                    format_type(column.ty)
                )));
            }
        }
        if self.partition_columns.len() < self.columns.len() {
            return Ok(());
        }
        Err(Error::new(SqlState::InvalidTableDefinition, "a table needs a column that it is not partitioned by"))
    }
}

fn validate_type(column: &ColumnSpec) -> Result<()> {
    let unsupported = || {
        let name = format_type(column.ty);
        Err(Error::unsupported(format!("type {name} of column \"{}\" in a table", column.name)))
    };
    match engine_type(column.ty) {
        DataType::Decimal128(precision, scale)
            if precision == 0 || precision > 38 || scale < 0 || scale > precision as i8 =>
        {
            unsupported()
        }
        DataType::List(element) if matches!(element.data_type(), DataType::Interval(_)) => unsupported(),
        _ => Ok(()),
    }
}

/// Types whose values Delta can write into a partition's name.
fn can_partition(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Boolean
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Decimal128(_, _)
            | DataType::Utf8View
            | DataType::Date32
            | DataType::Timestamp(_, _)
    )
}

/// The Arrow type that a scan gives for a stored PostgreSQL type.
pub(super) fn engine_type(ty: PgType) -> DataType {
    viewed(&types::arrow_type(ty))
}

/// The field that a scan gives for a column.
pub(super) fn engine_field(column: &ColumnSpec) -> Field {
    field(column, engine_type(column.ty))
}

fn field(column: &ColumnSpec, data_type: DataType) -> Field {
    let mut metadata = HashMap::from([(TYPE_KEY.to_owned(), format_type(column.ty))]);
    if let Some(comment) = &column.comment {
        metadata.insert(COMMENT_KEY.to_owned(), comment.clone());
    }
    Field::new(&column.name, data_type, !column.not_null).with_metadata(metadata)
}

/// The field of a column in Delta's schema.
pub(super) fn delta_field(column: &ColumnSpec) -> Field {
    let mut field = field(column, plain(&stored_type(&engine_type(column.ty))));
    for (key, text) in [(DEFAULT_KEY, &column.default), (GENERATED_KEY, &column.generated)] {
        if let Some(text) = text {
            field.metadata_mut().insert(key.to_owned(), text.clone());
        }
    }
    field
}

/// Column and engine field of a field in a Delta schema: from the type that we noted there, or from its own.
pub(super) fn from_delta(delta: &Field) -> (ColumnSpec, FieldRef) {
    let noted = delta.metadata().get(TYPE_KEY).and_then(|text| parse_type(text));
    // A note that another writer left behind after it changed the column's type is not believed.
    let noted = noted.filter(|ty| same_storage(&stored_type(&engine_type(*ty)), delta.data_type()));
    let ty = noted.unwrap_or_else(|| types::pg_type_of(delta.data_type()));
    let data_type = match noted {
        Some(ty) => engine_type(ty),
        None => viewed(delta.data_type()),
    };
    let noted = |key: &str| delta.metadata().get(key).cloned();
    let column = ColumnSpec {
        name: delta.name().clone(),
        ty,
        not_null: !delta.is_nullable(),
        comment: noted(COMMENT_KEY),
        default: noted(DEFAULT_KEY),
        generated: noted(GENERATED_KEY),
    };
    let field = field(&column, data_type);
    (column, Arc::new(field))
}

fn same_storage(ours: &DataType, theirs: &DataType) -> bool {
    match (plain(ours), plain(theirs)) {
        (DataType::List(ours), DataType::List(theirs)) => same_storage(ours.data_type(), theirs.data_type()),
        (ours, theirs) => ours == theirs,
    }
}

/// Strings and bytes as views, which Parquet is read into without a copy; one-byte integers as PostgreSQL's smallest.
fn viewed(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Int8 => DataType::Int16,
        DataType::List(element) => {
            DataType::List(Arc::new(Field::new_list_field(viewed(element.data_type()), element.is_nullable())))
        }
        other => other.clone(),
    }
}

/// The opposite of views: the types that Delta's schema is made from.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(element) => {
            DataType::List(Arc::new(Field::new("element", plain(element.data_type()), element.is_nullable())))
        }
        other => other.clone(),
    }
}

/// The type of a column inside a data file: PostgreSQL's types that Delta has not are encoded.
pub(super) fn stored_type(engine: &DataType) -> DataType {
    match engine {
        DataType::Time64(_) => DataType::Int64,
        DataType::Interval(_) => DataType::Utf8View,
        DataType::List(element) => {
            DataType::List(Arc::new(Field::new("element", stored_type(element.data_type()), element.is_nullable())))
        }
        other => other.clone(),
    }
}

/// The type that the Parquet reader is asked for: it casts times itself, intervals are decoded behind it.
pub(super) fn scanned_type(engine: &DataType) -> DataType {
    match engine {
        DataType::Interval(_) => DataType::Utf8View,
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::types::oid;

    #[test]
    fn a_column_comes_back_from_its_delta_field() {
        for ty in [
            PgType::INT2,
            PgType::with_typmod(oid::VARCHAR, 14),
            PgType::TIME,
            PgType::INTERVAL,
            PgType::numeric(12, 3),
            PgType::JSONB,
            PgType::of(1007),
            PgType::of(1183),
            PgType::UUID,
            PgType::TIMESTAMPTZ,
        ] {
            let column = ColumnSpec {
                comment: Some("text".to_owned()),
                default: Some("1".to_owned()),
                ..ColumnSpec::new("c", ty).not_null()
            };
            let (back, field) = from_delta(&delta_field(&column));
            assert_eq!(back, column);
            assert_eq!(*field.data_type(), engine_type(ty));
        }
    }

    #[test]
    fn a_note_that_does_not_fit_the_type_is_not_believed() {
        let metadata = HashMap::from([(TYPE_KEY.to_owned(), "integer".to_owned())]);
        let (column, field) = from_delta(&Field::new("c", DataType::Int64, true).with_metadata(metadata));
        assert_eq!((column.ty, field.data_type()), (PgType::INT8, &DataType::Int64));
    }

    #[test]
    fn what_delta_cannot_hold_is_refused() {
        let column = |name: &str, ty| ColumnSpec::new(name, ty);
        let spec = |columns: Vec<ColumnSpec>, by: &[&str]| TableSpec {
            columns,
            partition_columns: by.iter().map(|name| (*name).to_owned()).collect(),
            ..TableSpec::default()
        };
        let int = || column("a", PgType::INT4);
        for (spec, state) in [
            (spec(vec![], &[]), SqlState::FeatureNotSupported),
            (spec(vec![int(), column("A", PgType::INT4)], &[]), SqlState::DuplicateColumn),
            (spec(vec![int()], &["b"]), SqlState::UndefinedColumn),
            (spec(vec![int()], &["a"]), SqlState::InvalidTableDefinition),
            (spec(vec![int(), column("b", PgType::BYTEA)], &["b"]), SqlState::FeatureNotSupported),
            (spec(vec![column("a", PgType::of(1187))], &[]), SqlState::FeatureNotSupported),
            (spec(vec![column("a", PgType::numeric(39, 2))], &[]), SqlState::FeatureNotSupported),
        ] {
            assert_eq!(spec.validate().unwrap_err().sqlstate(), state, "{spec:?}");
        }
        spec(vec![int(), column("b", PgType::TEXT)], &["b"]).validate().unwrap();
    }
}

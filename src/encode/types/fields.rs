//! The PostgreSQL type of an Arrow field, kept in the field's metadata.

use arrow::datatypes::{DataType, Field};

use super::{PgType, TYPE_KEY, arrow_type, element_of, format_type, oid, parse_type, pg_type_of};

/// A field that carries `ty` and says so in its metadata.
pub fn field(name: impl Into<String>, ty: PgType, nullable: bool) -> Field {
    Field::new(name, arrow_type(ty), nullable)
        .with_metadata([(TYPE_KEY.to_owned(), format_type(ty))].into_iter().collect())
}

/// The PostgreSQL type that a field's metadata names, when its Arrow type can carry it; else what [`pg_type_of`] says.
pub fn pg_type_of_field(field: &Field) -> PgType {
    field
        .metadata()
        .get(TYPE_KEY)
        .and_then(|text| parse_type(text))
        .filter(|ty| carries(field.data_type(), *ty))
        .unwrap_or_else(|| pg_type_of(field.data_type()))
}

/// Whether values of the Arrow type can be shown as `ty`. Lenient where storage widens: an `int2` may come as Int64, a
/// `uuid` in a dictionary, an `interval` or `time` in the form that tables keep it in.
pub fn carries(data_type: &DataType, ty: PgType) -> bool {
    let data_type = match data_type {
        DataType::Dictionary(_, value) => value.as_ref(),
        DataType::RunEndEncoded(_, value) => value.data_type(),
        other => other,
    };
    if data_type.is_null() {
        return true;
    }
    if let Some(element) = element_of(ty.oid) {
        return match data_type {
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item) => {
                // Arrays of more dimensions are lists of lists of the same element.
                carries(item.data_type(), PgType { oid: element, typmod: ty.typmod }) || carries(item.data_type(), ty)
            }
            _ => is_text(data_type),
        };
    }
    match ty.oid {
        oid::BOOL => *data_type == DataType::Boolean,
        oid::INT2 | oid::INT4 | oid::INT8 => data_type.is_integer(),
        oid::FLOAT4 | oid::FLOAT8 => data_type.is_floating(),
        oid::NUMERIC => is_decimal(data_type) || data_type.is_integer(),
        oid::BYTEA => is_binary(data_type),
        oid::DATE => matches!(data_type, DataType::Date32 | DataType::Date64),
        oid::TIME => matches!(data_type, DataType::Time32(_) | DataType::Time64(_) | DataType::Int64),
        oid::TIMESTAMP | oid::TIMESTAMPTZ => matches!(data_type, DataType::Timestamp(_, _)),
        oid::INTERVAL => matches!(data_type, DataType::Interval(_) | DataType::Duration(_)) || is_text(data_type),
        oid::RECORD => matches!(data_type, DataType::Struct(_)),
        oid::UUID => is_text(data_type) || matches!(data_type, DataType::FixedSizeBinary(16)),
        oid::JSON | oid::JSONB => is_text(data_type) || data_type.is_nested(),
        _ => match arrow_type(ty) {
            DataType::Int64 => data_type.is_integer(),
            _ => is_text(data_type),
        },
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(data_type: &DataType) -> bool {
    use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary};
    matches!(data_type, Binary | LargeBinary | BinaryView | FixedSizeBinary(_))
}

fn is_decimal(data_type: &DataType) -> bool {
    use DataType::{Decimal32, Decimal64, Decimal128, Decimal256};
    matches!(data_type, Decimal32(_, _) | Decimal64(_, _) | Decimal128(_, _) | Decimal256(_, _))
}

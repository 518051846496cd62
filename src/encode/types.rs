//! PostgreSQL's types, as the pair (OID, typmod), and which Arrow type carries each of them inside the engine.
//!
//! A value of a PostgreSQL type is carried in the engine by exactly one Arrow type family:
//!
//! | PostgreSQL | Arrow in the engine | in a Delta table |
//! | --- | --- | --- |
//! | bool | Boolean | boolean |
//! | int2, int4, int8 | Int16, Int32, Int64 | short, integer, long |
//! | oid, xid, reg* | Int64 (value 0 to 2^32-1) | long |
//! | float4, float8 | Float32, Float64 | float, double |
//! | numeric(p,s) | Decimal128(p, s), p ≤ 38 | decimal(p,s) |
//! | numeric | any Decimal128 in an expression; Decimal128(38, 10) in a table, shown without trailing zeros | decimal(38,10) |
//! | text, varchar, bpchar, name, "char", json, jsonb, uuid, unknown | Utf8View, Utf8, LargeUtf8, Dictionary(_, Utf8) | string |
//! | bytea | BinaryView, Binary, LargeBinary | binary |
//! | date | Date32 (days since 1970; i32::MIN/MAX are ±infinity) | date |
//! | time | Time64(Microsecond) | long |
//! | timestamp | Timestamp(Microsecond, None) (i64::MIN/MAX are ±infinity) | timestamp_ntz |
//! | timestamptz | Timestamp(Microsecond, "UTC") | timestamp |
//! | interval | Interval(MonthDayNano) | string, ISO 8601 |
//! | element[] | List of the element | array |
//! | record | Struct | struct |
//!
//! The PostgreSQL type of a stored column is kept in its Arrow field's metadata under [`TYPE_KEY`].

mod fields;
mod format;
mod info;
#[cfg(test)]
mod tests;

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

pub use fields::{carries, field, pg_type_of_field};
pub use format::{format_type, interval_typmod, parse_type, type_words};
pub use info::{TypeInfo, all_types, type_info};

/// Key of a field's metadata that holds the PostgreSQL type as `format_type` writes it, e.g. `character varying(10)`.
pub const TYPE_KEY: &str = "lakegate.type";

/// Precision and scale of an unconstrained `numeric` column in a table.
pub const NUMERIC_COLUMN: (u8, i8) = (38, 10);

/// The OIDs of PostgreSQL's built-in types (`pg_type.dat`).
pub mod oid {
    pub const BOOL: u32 = 16;
    pub const BYTEA: u32 = 17;
    pub const CHAR: u32 = 18;
    pub const NAME: u32 = 19;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT2VECTOR: u32 = 22;
    pub const INT4: u32 = 23;
    pub const REGPROC: u32 = 24;
    pub const TEXT: u32 = 25;
    pub const OID: u32 = 26;
    pub const TID: u32 = 27;
    pub const XID: u32 = 28;
    pub const CID: u32 = 29;
    pub const OIDVECTOR: u32 = 30;
    pub const JSON: u32 = 114;
    pub const XML: u32 = 142;
    pub const PG_NODE_TREE: u32 = 194;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const UNKNOWN: u32 = 705;
    pub const MONEY: u32 = 790;
    pub const INET: u32 = 869;
    pub const ACLITEM: u32 = 1033;
    pub const BPCHAR: u32 = 1042;
    pub const VARCHAR: u32 = 1043;
    pub const DATE: u32 = 1082;
    pub const TIME: u32 = 1083;
    pub const TIMESTAMP: u32 = 1114;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const INTERVAL: u32 = 1186;
    pub const TIMETZ: u32 = 1266;
    pub const NUMERIC: u32 = 1700;
    pub const REFCURSOR: u32 = 1790;
    pub const REGPROCEDURE: u32 = 2202;
    pub const REGOPER: u32 = 2203;
    pub const REGOPERATOR: u32 = 2204;
    pub const REGCLASS: u32 = 2205;
    pub const REGTYPE: u32 = 2206;
    pub const RECORD: u32 = 2249;
    pub const CSTRING: u32 = 2275;
    pub const ANY: u32 = 2276;
    pub const ANYARRAY: u32 = 2277;
    pub const VOID: u32 = 2278;
    pub const TRIGGER: u32 = 2279;
    pub const INTERNAL: u32 = 2281;
    pub const ANYELEMENT: u32 = 2283;
    pub const RECORD_ARRAY: u32 = 2287;
    pub const ANYNONARRAY: u32 = 2776;
    pub const UUID: u32 = 2950;
    pub const REGCONFIG: u32 = 3734;
    pub const JSONB: u32 = 3802;
    pub const REGNAMESPACE: u32 = 4089;
    pub const REGROLE: u32 = 4096;
    pub const REGCOLLATION: u32 = 4191;
}

/// A PostgreSQL type with its modifier.
///
/// `typmod` is PostgreSQL's own encoding, -1 for none: `varchar(n)` and `char(n)` n + 4; `numeric(p,s)` ((p << 16) | s) + 4;
/// `timestamp(p)`, `timestamptz(p)`, `time(p)` p; `interval` as in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PgType {
    pub oid: u32,
    pub typmod: i32,
}

impl PgType {
    pub const BOOL: Self = Self::of(oid::BOOL);
    pub const BYTEA: Self = Self::of(oid::BYTEA);
    pub const CHAR: Self = Self::of(oid::CHAR);
    pub const NAME: Self = Self::of(oid::NAME);
    pub const INT2: Self = Self::of(oid::INT2);
    pub const INT4: Self = Self::of(oid::INT4);
    pub const INT8: Self = Self::of(oid::INT8);
    pub const OID: Self = Self::of(oid::OID);
    pub const FLOAT4: Self = Self::of(oid::FLOAT4);
    pub const FLOAT8: Self = Self::of(oid::FLOAT8);
    pub const NUMERIC: Self = Self::of(oid::NUMERIC);
    pub const TEXT: Self = Self::of(oid::TEXT);
    pub const VARCHAR: Self = Self::of(oid::VARCHAR);
    pub const BPCHAR: Self = Self::of(oid::BPCHAR);
    pub const UNKNOWN: Self = Self::of(oid::UNKNOWN);
    pub const DATE: Self = Self::of(oid::DATE);
    pub const TIME: Self = Self::of(oid::TIME);
    pub const TIMESTAMP: Self = Self::of(oid::TIMESTAMP);
    pub const TIMESTAMPTZ: Self = Self::of(oid::TIMESTAMPTZ);
    pub const INTERVAL: Self = Self::of(oid::INTERVAL);
    pub const UUID: Self = Self::of(oid::UUID);
    pub const JSON: Self = Self::of(oid::JSON);
    pub const JSONB: Self = Self::of(oid::JSONB);
    pub const REGCLASS: Self = Self::of(oid::REGCLASS);
    pub const REGTYPE: Self = Self::of(oid::REGTYPE);
    pub const REGPROC: Self = Self::of(oid::REGPROC);
    pub const REGNAMESPACE: Self = Self::of(oid::REGNAMESPACE);
    pub const REGROLE: Self = Self::of(oid::REGROLE);
    pub const RECORD: Self = Self::of(oid::RECORD);
    pub const VOID: Self = Self::of(oid::VOID);

    /// The type without a modifier.
    pub const fn of(oid: u32) -> Self {
        Self { oid, typmod: -1 }
    }

    /// The type with PostgreSQL's encoding of a modifier.
    pub const fn with_typmod(oid: u32, typmod: i32) -> Self {
        Self { oid, typmod }
    }

    /// `numeric(precision, scale)`.
    pub const fn numeric(precision: u8, scale: i8) -> Self {
        Self { oid: oid::NUMERIC, typmod: (((precision as i32) << 16) | ((scale as i32) & 0x7ff)) + 4 }
    }

    /// Precision and scale of a `numeric(p,s)`, or none for plain `numeric`.
    pub fn precision_scale(self) -> Option<(u8, i8)> {
        (self.oid == oid::NUMERIC && self.typmod >= 4).then(|| {
            let packed = self.typmod - 4;
            // PostgreSQL 15 stores the scale as an 11-bit signed number.
            let scale = ((packed & 0x7ff) ^ 1024) - 1024;
            (((packed >> 16) & 0xffff).min(255) as u8, scale as i8)
        })
    }

    /// The longest text of a `varchar(n)` or `char(n)` in characters, or none.
    pub fn length_max(self) -> Option<usize> {
        (matches!(self.oid, oid::VARCHAR | oid::BPCHAR) && self.typmod >= 4).then(|| (self.typmod - 4) as usize)
    }
}

/// One column of a result as RowDescription tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputColumn {
    pub name: String,
    pub ty: PgType,
    /// OID of the table that the column comes straight from, or 0.
    pub table_oid: u32,
    /// Number of that table's column, from 1, or 0.
    pub attribute: i16,
}

impl OutputColumn {
    /// A column that is no table's.
    pub fn new(name: impl Into<String>, ty: PgType) -> Self {
        Self { name: name.into(), ty, table_oid: 0, attribute: 0 }
    }
}

/// The two wire formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    #[default]
    Text,
    Binary,
}

/// The Arrow type that carries `ty` in the engine; for tables too, but for the storage encodings that `lake` knows.
/// Arrays are asked for by [`element_of`].
pub fn arrow_type(ty: PgType) -> DataType {
    if let Some(element) = element_of(ty.oid) {
        let element = PgType { oid: element, typmod: ty.typmod };
        return DataType::new_list(arrow_type(element), true);
    }
    match ty.oid {
        oid::BOOL => DataType::Boolean,
        oid::INT2 => DataType::Int16,
        oid::INT4 => DataType::Int32,
        oid::INT8 | oid::OID | oid::XID | oid::CID => DataType::Int64,
        oid::REGPROC | oid::REGPROCEDURE | oid::REGOPER | oid::REGOPERATOR | oid::REGCLASS | oid::REGTYPE => {
            DataType::Int64
        }
        oid::REGNAMESPACE | oid::REGROLE | oid::REGCONFIG | oid::REGCOLLATION => DataType::Int64,
        oid::FLOAT4 => DataType::Float32,
        oid::FLOAT8 => DataType::Float64,
        oid::NUMERIC => {
            let (precision, scale) = ty.precision_scale().unwrap_or(NUMERIC_COLUMN);
            DataType::Decimal128(precision, scale)
        }
        oid::BYTEA => DataType::Binary,
        oid::DATE => DataType::Date32,
        oid::TIME => DataType::Time64(TimeUnit::Microsecond),
        oid::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        oid::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        oid::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => DataType::Utf8,
    }
}

/// (element, array) for every type whose arrays we carry (`pg_type.typarray`).
const ARRAYS: &[(u32, u32)] = &[
    (oid::BOOL, 1000),
    (oid::BYTEA, 1001),
    (oid::CHAR, 1002),
    (oid::NAME, 1003),
    (oid::INT2, 1005),
    (oid::INT4, 1007),
    (oid::REGPROC, 1008),
    (oid::TEXT, 1009),
    (oid::XID, 1011),
    (oid::BPCHAR, 1014),
    (oid::VARCHAR, 1015),
    (oid::INT8, 1016),
    (oid::FLOAT4, 1021),
    (oid::FLOAT8, 1022),
    (oid::OID, 1028),
    (oid::ACLITEM, 1034),
    (oid::TIMESTAMP, 1115),
    (oid::DATE, 1182),
    (oid::TIME, 1183),
    (oid::TIMESTAMPTZ, 1185),
    (oid::INTERVAL, 1187),
    (oid::NUMERIC, 1231),
    (oid::CSTRING, 1263),
    (oid::JSON, 199),
    (oid::REGCLASS, 2210),
    (oid::REGTYPE, 2211),
    (oid::RECORD, oid::RECORD_ARRAY),
    (oid::UUID, 2951),
    (oid::JSONB, 3807),
];

/// The element type of an array type; `int2vector` and `oidvector` count as arrays.
pub fn element_of(array: u32) -> Option<u32> {
    match array {
        oid::INT2VECTOR => Some(oid::INT2),
        oid::OIDVECTOR => Some(oid::OID),
        _ => ARRAYS.iter().find(|(_, of)| *of == array).map(|(element, _)| *element),
    }
}

/// The array type of an element type.
pub fn array_of(element: u32) -> Option<u32> {
    ARRAYS.iter().find(|(of, _)| *of == element).map(|(_, array)| *array)
}

/// The PostgreSQL type that an Arrow type is shown as when nothing else is known: for files and foreign tables.
pub fn pg_type_of(data_type: &DataType) -> PgType {
    match data_type {
        DataType::Null => PgType::TEXT,
        DataType::Boolean => PgType::BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => PgType::INT2,
        DataType::Int32 | DataType::UInt16 => PgType::INT4,
        DataType::Int64 | DataType::UInt32 => PgType::INT8,
        DataType::UInt64 => PgType::numeric(20, 0),
        DataType::Float16 | DataType::Float32 => PgType::FLOAT4,
        DataType::Float64 => PgType::FLOAT8,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => PgType::numeric(*precision, *scale),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => PgType::TEXT,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => PgType::BYTEA,
        DataType::Date32 | DataType::Date64 => PgType::DATE,
        DataType::Time32(_) | DataType::Time64(_) => PgType::TIME,
        DataType::Timestamp(_, None) => PgType::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => PgType::TIMESTAMPTZ,
        DataType::Duration(_) | DataType::Interval(_) => PgType::INTERVAL,
        DataType::Dictionary(_, value) => pg_type_of(value),
        DataType::RunEndEncoded(_, value) => pg_type_of(value.data_type()),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => {
            let element = pg_type_of(field.data_type());
            array_of(element.oid).map_or(PgType::JSONB, |array| PgType { oid: array, typmod: element.typmod })
        }
        DataType::Struct(_) => PgType::RECORD,
        DataType::Map(_, _) | DataType::Union(_, _) => PgType::JSONB,
    }
}

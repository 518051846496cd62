use super::*;

#[test]
fn type_names_and_their_aliases_are_read() {
    let cases = [
        ("int", PgType::INT4),
        ("INT4", PgType::INT4),
        ("pg_catalog.int8", PgType::INT8),
        ("float(24)", PgType::FLOAT4),
        ("float", PgType::FLOAT8),
        ("double precision", PgType::FLOAT8),
        ("decimal(12, 2)", PgType::numeric(12, 2)),
        ("numeric(5)", PgType::numeric(5, 0)),
        ("numeric(5,-2)", PgType::numeric(5, -2)),
        ("varchar(10)", PgType::with_typmod(oid::VARCHAR, 14)),
        ("char", PgType::with_typmod(oid::BPCHAR, 5)),
        ("character varying", PgType::VARCHAR),
        ("\"char\"", PgType::CHAR),
        ("bpchar", PgType::BPCHAR),
        ("timestamptz(3)", PgType::with_typmod(oid::TIMESTAMPTZ, 3)),
        ("timestamp(3) with time zone", PgType::with_typmod(oid::TIMESTAMPTZ, 3)),
        ("timestamp without time zone", PgType::TIMESTAMP),
        ("time", PgType::TIME),
        ("interval year to month", PgType::with_typmod(oid::INTERVAL, (6 << 16) | 0xffff)),
        ("interval(3)", PgType::with_typmod(oid::INTERVAL, (0x7fff << 16) | 3)),
        ("text[]", PgType::of(1009)),
        ("int4[3]", PgType::of(1007)),
        ("_int4", PgType::of(1007)),
        ("int[][]", PgType::of(1007)),
        ("varchar(3)[]", PgType::with_typmod(1015, 7)),
        ("integer array", PgType::of(1007)),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_type(text), Some(expected), "{text}");
    }
    for text in [
        "",
        "nothing",
        "int(",
        "varchar(0)",
        "numeric(0)",
        "numeric(1001)",
        "float(54)",
        "int4 int4",
        "double",
        "public.int4",
    ] {
        assert_eq!(parse_type(text), None, "{text}");
    }
}

#[test]
fn format_type_writes_what_postgresql_writes() {
    let cases = [
        (PgType::of(0), "-"),
        (PgType::of(99_999), "???"),
        (PgType::with_typmod(1015, 14), "character varying(10)[]"),
        (PgType::with_typmod(1231, 655_366), "numeric(10,2)[]"),
        (PgType::of(1002), "\"char\"[]"),
        (PgType::of(oid::OIDVECTOR), "oidvector"),
        (PgType::with_typmod(oid::TIME, 0), "time(0) without time zone"),
        (PgType::with_typmod(1115, 2), "timestamp(2) without time zone[]"),
        (PgType::with_typmod(oid::INTERVAL, (4 << 16) | 65_535), "interval year"),
        (PgType::with_typmod(oid::INTERVAL, ((8 | 1024 | 2048 | 4096) << 16) | 2), "interval day to second(2)"),
        (PgType::with_typmod(oid::BPCHAR, 9), "character(5)"),
        (PgType::BPCHAR, "bpchar"),
        (PgType::RECORD, "record"),
        (PgType::of(2287), "record[]"),
    ];
    for (ty, expected) in cases {
        assert_eq!(format_type(ty), expected);
    }
}

#[test]
fn every_type_reads_back_from_its_own_name() {
    for info in all_types() {
        let ty = PgType::of(info.oid);
        assert_eq!(parse_type(&format_type(ty)), Some(ty), "{}", info.name);
        assert_eq!(parse_type(&format!("pg_catalog.\"{}\"", info.name)), Some(ty), "{}", info.name);
    }
}

#[test]
fn a_field_keeps_its_type_when_the_arrow_type_can_carry_it() {
    let ty = PgType::with_typmod(oid::VARCHAR, 14);
    assert_eq!(pg_type_of_field(&field("a", ty, true)), ty);
    let widened = field("a", PgType::INT2, true).with_data_type(DataType::Int64);
    assert_eq!(pg_type_of_field(&widened), PgType::INT2);
    let changed = field("a", PgType::INT2, true).with_data_type(DataType::Utf8View);
    assert_eq!(pg_type_of_field(&changed), PgType::TEXT);
}

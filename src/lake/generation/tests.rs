//! Translations, both ways.

use super::*;

fn columns() -> Vec<ColumnSpec> {
    let of = |name: &str, ty| ColumnSpec::new(name, ty);
    vec![
        of("id", PgType::INT4),
        of("big", PgType::INT8),
        of("price", PgType::numeric(10, 2)),
        of("at", PgType::TIMESTAMPTZ),
        of("local", PgType::TIMESTAMP),
        of("day", PgType::DATE),
        of("name", PgType::TEXT),
        of("Odd name", PgType::TEXT),
        of("ratio", PgType::FLOAT8),
    ]
}

fn generated(ty: PgType, text: &str) -> ColumnSpec {
    ColumnSpec { generated: Some(text.to_owned()), ..ColumnSpec::new("g", ty) }
}

#[test]
fn what_both_sides_can_say_is_translated_both_ways() {
    for (ty, ours, spark) in [
        (PgType::DATE, "at::date", "CAST(at AS DATE)"),
        (PgType::DATE, "CAST(local AS date)", "CAST(local AS DATE)"),
        (PgType::INT4, "extract(year FROM day)", "EXTRACT(YEAR FROM day)"),
        (PgType::INT2, "date_part('month', at)", "CAST(EXTRACT(MONTH FROM at) AS SMALLINT)"),
        (PgType::INT8, "id * 2 + big", "((id * 2) + big)"),
        (PgType::INT4, "id % 10", "(id % 10)"),
        (PgType::numeric(12, 2), "price * id", "CAST((price * id) AS DECIMAL(12,2))"),
        (PgType::numeric(12, 2), "round_up", ""),
        (PgType::TEXT, "name || '-' || \"Odd name\"", "((name || '-') || `Odd name`)"),
        (PgType::TEXT, "upper(name)", "UPPER(name)"),
        (PgType::DATE, "date_trunc('month', local)::date", "CAST(DATE_TRUNC('MONTH', local) AS DATE)"),
        (PgType::TIMESTAMPTZ, "date_trunc('hour', at)", "DATE_TRUNC('HOUR', at)"),
        (PgType::TIMESTAMP, "date_trunc('hour', local)", ""),
        (PgType::INT4, "id / 2", ""),
        (PgType::INT4, "price", ""),
        (PgType::INT4, "id + coalesce(big, 0)", ""),
        (PgType::TEXT, "concat(name, 'x')", ""),
        (PgType::TEXT, "name || E'\\n'", ""),
        (PgType::FLOAT8, "ratio * 1.5", "(ratio * 1.5)"),
        (PgType::INT4, "hour", ""),
    ] {
        let said = to_spark(&generated(ty, ours), &columns());
        assert_eq!(said.as_deref(), Some(spark).filter(|spark| !spark.is_empty()), "{ours}");
        let Some(said) = said else { continue };
        let back = from_spark(&said, &ColumnSpec::new("g", ty), &columns());
        let back = back.unwrap_or_else(|| panic!("{said} has no way back"));
        assert_eq!(to_spark(&generated(ty, &back), &columns()), Some(said), "{ours}: {back}");
    }
}

#[test]
fn sparks_own_words_are_understood() {
    for (ty, spark, ours) in [
        (PgType::DATE, "TO_DATE(At)", "(\"at\")::date"),
        (PgType::INT4, "dayofmonth(`day`)", "extract(day FROM \"day\")::integer"),
        (PgType::INT4, "weekofyear(at)", "extract(week FROM \"at\")::integer"),
        (PgType::INT8, "id", "(\"id\")::bigint"),
        (PgType::TEXT, "CAST(id AS STRING)", "(\"id\")::text"),
        (PgType::TEXT, "date_format(at, 'yyyy')", ""),
        (PgType::TEXT, "substring(name, 0, 2)", ""),
        (PgType::FLOAT8, "id / 2", ""),
        (PgType::DATE, "day + 1", ""),
    ] {
        let said = from_spark(spark, &ColumnSpec::new("g", ty), &columns());
        assert_eq!(said.as_deref(), Some(ours).filter(|ours| !ours.is_empty()), "{spark}");
    }
}

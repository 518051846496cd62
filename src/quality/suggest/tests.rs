use super::spelling::{constant, regular_expression, rounded, rule_name, text};
use super::*;
use crate::quality::profile::{TextLengths, TextPatterns, TopValue};

fn quoted(name: &str) -> String {
    if name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        name.to_owned()
    } else {
        format!("\"{name}\"")
    }
}

fn table(name: &str, spelling: Spelling, kind: Kind) -> SuggestedTable {
    let column = SuggestedColumn { name: name.to_owned(), spelling, kind, is_not_null: false };
    let (taken, kept) = (vec!["a_range".to_owned()], vec!["d IS NOT NULL".to_owned()]);
    let now = "2026-11-21 12:00:00".to_owned();
    SuggestedTable { name: "public.t".to_owned(), columns: vec![column], taken, kept, now, quote: quoted }
}

fn statements(table: &SuggestedTable, nulls: u64, values: ValuesProfile, is_unique: bool) -> Vec<String> {
    let profile = ColumnProfile { rows: 1000, nulls, values: Some(values) };
    let suggestions = table.suggestions(&[profile], &[is_unique]);
    suggestions.into_iter().map(|suggestion| suggestion.statement).collect()
}

#[test]
fn numbers_have_signs_ranges_and_means() {
    let values = ValuesProfile {
        distinct: 900,
        least: Some("1".to_owned()),
        greatest: Some("50".to_owned()),
        mean: Some(25.5),
        deviation: Some(14.4),
        ..ValuesProfile::default()
    };
    let table = table("a", Spelling::Number, Kind::Number);
    assert_eq!(
        statements(&table, 10, values, false),
        [
            "ALTER TABLE public.t ADD CONSTRAINT a_not_null EXPECT (a IS NOT NULL) ON VIOLATION WARN WITH (mostly = 0.99)",
            "ALTER TABLE public.t ADD CONSTRAINT a_positive EXPECT (a > 0) ON VIOLATION WARN WITH (ignore_nulls = true)",
            "ALTER TABLE public.t ADD CONSTRAINT a_range_1 EXPECT (a BETWEEN 1 AND 50) ON VIOLATION WARN WITH (ignore_nulls = true)",
            "CREATE EXPECTATION a_mean ON public.t EXPECT (avg(a) BETWEEN 21.90 AND 29.10) ON VIOLATION WARN",
            "CREATE EXPECTATION row_count ON public.t EXPECT (ROW COUNT BETWEEN 500 AND 2000) ON VIOLATION WARN",
        ]
    );
}

#[test]
fn keys_are_unique_and_have_no_range() {
    let values = ValuesProfile {
        distinct: 1000,
        least: Some("-7".to_owned()),
        greatest: Some("993".to_owned()),
        ..ValuesProfile::default()
    };
    let suggested = statements(&table("Key", Spelling::Number, Kind::Number), 0, values, true);
    assert_eq!(
        suggested,
        [
            "ALTER TABLE public.t ADD CONSTRAINT \"Key_not_null\" EXPECT (\"Key\" IS NOT NULL) ON VIOLATION WARN",
            "CREATE EXPECTATION \"Key_unique\" ON public.t EXPECT (UNIQUE (\"Key\")) ON VIOLATION WARN",
            "CREATE EXPECTATION row_count ON public.t EXPECT (ROW COUNT BETWEEN 500 AND 2000) ON VIOLATION WARN",
        ]
    );
}

#[test]
fn texts_have_known_values_or_lengths_and_patterns() {
    let top = ["it's", "b"].map(|text| TopValue { text: text.to_owned(), is_cut: false, count: 500 });
    let lengths = Some(TextLengths { least: 6, greatest: 6, mean: 6.0 });
    let few = ValuesProfile { distinct: 2, is_exact: true, top: top.to_vec(), lengths, ..ValuesProfile::default() };
    let suggested = statements(&table("a", Spelling::Text, Kind::Text), 0, few, false);
    assert_eq!(
        suggested[1],
        "ALTER TABLE public.t ADD CONSTRAINT a_known_values EXPECT (a IN ('b', 'it''s')) ON VIOLATION WARN"
    );
    let top = vec![("A-9.9".to_owned(), 990), ("a".to_owned(), 6), ("b c".to_owned(), 2), ("9".to_owned(), 2)];
    let patterns = Some(TextPatterns { top, error: 0, number: Some(4), is_ascii: true });
    let many = ValuesProfile { distinct: 700, lengths, patterns, ..ValuesProfile::default() };
    let suggested = statements(&table("a", Spelling::Text, Kind::Text), 0, many, false);
    assert_eq!(suggested[1], "ALTER TABLE public.t ADD CONSTRAINT a_length EXPECT (length(a) = 6) ON VIOLATION WARN");
    assert_eq!(
        suggested[2],
        "ALTER TABLE public.t ADD CONSTRAINT a_pattern EXPECT (a ~ '^[A-Z]+-[0-9]+[.][0-9]+$') ON VIOLATION WARN WITH (mostly = 0.99)"
    );
}

#[test]
fn only_what_has_been_is_not_in_the_future() {
    let values = |greatest: &str| ValuesProfile {
        distinct: 900,
        least: Some("1992-01-02".to_owned()),
        greatest: Some(greatest.to_owned()),
        ..ValuesProfile::default()
    };
    let table = table("d", Spelling::Date, Kind::Moment);
    let of = |greatest: &str| statements(&table, 0, values(greatest), false);
    assert!(!of("2026-11-21").iter().any(|statement| statement.contains("IS NOT NULL")));
    assert!(of("2026-11-21").iter().any(|statement| statement.contains("(d <= current_date)")));
    assert!(of("1998-12-01").iter().any(|text| text.contains("(d >= DATE '1992-01-02')")));
    assert!(of("2998-12-01").iter().any(|text| text.contains("(d BETWEEN DATE '1992-01-02' AND DATE '2998-12-01')")));
    for greatest in ["2026-11-22", "infinity", "12026-01-01", "0044-03-15 BC"] {
        assert!(!of(greatest).iter().any(|statement| statement.contains("current_date")), "{greatest}");
    }
}

#[test]
fn no_rows_suggest_nothing() {
    assert!(table("a", Spelling::Text, Kind::Text).suggestions(&[ColumnProfile::default()], &[true]).is_empty());
}

#[test]
fn names_constants_and_expressions_are_spelled() {
    assert_eq!(rule_name("a", "range", 0), "a_range");
    assert_eq!(rule_name("", "row_count", 2), "row_count_2");
    assert_eq!(rule_name(&"ü".repeat(40), "range", 0), format!("{}_range", "ü".repeat(28)));
    assert_eq!(text("a\\'b"), "E'a\\\\''b'");
    assert_eq!(constant(Spelling::Number, "NaN"), None);
    assert_eq!(constant(Spelling::Timestamp, "-infinity"), None);
    assert_eq!(constant(Spelling::Time, "12:00:00").as_deref(), Some("TIME '12:00:00'"));
    assert_eq!(regular_expression("Aa 9^\\").as_deref(), Some("[A-Z]+[a-z]+[[:space:]]+[0-9]+\\^\\\\"));
    assert_eq!(regular_expression("a…"), None);
    assert_eq!((rounded(123_456.0, true), rounded(123_456.0, false)), ("123500".to_owned(), "123400".to_owned()));
    assert_eq!((rounded(-0.012_345, true), rounded(-0.012_345, false)), ("-0.01234".to_owned(), "-0.01235".to_owned()));
    assert_eq!(rounded(0.0, true), "0");
}

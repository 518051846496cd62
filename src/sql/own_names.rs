//! The names of a table's own columns in the texts that are kept for it: outside of subqueries they stand without the table,
//! so that they outlive its renaming. Subqueries are texts in parentheses that begin with SELECT, WITH, VALUES or TABLE.

use std::collections::BTreeSet;

use super::column_names::is_column;
use super::scan;
use super::token::{Kind, Token};

/// The text with the table's columns named without it; in subqueries without its schema. `quote` gives a name as SQL has it.
pub fn with_own_columns(text: &str, (schema, table): (Option<&str>, &str), quote: impl Fn(&str) -> String) -> String {
    let places = Places::of(text);
    let mut edits = Vec::new();
    for chain in places.chains() {
        let names: Vec<&str> = chain.iter().map(|token| token.value.as_str()).collect();
        let in_query = chain.first().is_some_and(|first| places.in_query(first));
        let is_own = |given: &str| schema == Some(given);
        match (names.as_slice(), chain.as_slice()) {
            ([given, named, column], [first, _, last]) if is_own(given) && *named == table => {
                let kept = if in_query { format!("{}.{}", quote(table), quote(column)) } else { quote(column) };
                edits.push((first.start, last.end, kept));
            }
            ([named, column], [first, last]) if !in_query && *named == table => {
                edits.push((first.start, last.end, quote(column)));
            }
            _ => {}
        }
    }
    edited(text, &edits)
}

/// The text after its table was renamed, where subqueries name it for its columns.
pub fn with_table_renamed(text: &str, from: &str, quoted: &str) -> String {
    let places = Places::of(text);
    let chains = places.chains();
    let is_alias = |token: &Token| {
        is_name(token)
            && token.value == from
            && places.in_query(token)
            && !chains.iter().flatten().any(|other| other.start == token.start)
    };
    if places.tokens.iter().any(is_alias) {
        return text.to_owned();
    }
    let own = chains.iter().filter_map(|chain| match chain.as_slice() {
        [table, _] if table.value == from => Some((table.start, table.end, quoted.to_owned())),
        _ => None,
    });
    edited(text, &own.collect::<Vec<_>>())
}

/// The text after a column of its own table was renamed; `others` are columns of the relations that its subqueries read.
pub fn with_own_column_renamed(
    text: &str,
    (table, from): (&str, &str),
    quoted: &str,
    others: &BTreeSet<String>,
) -> String {
    let places = Places::of(text);
    let qualified: BTreeSet<usize> = places
        .chains()
        .iter()
        .filter(|chain| matches!(chain.as_slice(), [first, _] if first.value == table))
        .filter_map(|chain| chain.last().map(|last| last.start))
        .collect();
    let mut edits = Vec::new();
    for (index, token) in places.tokens.iter().enumerate() {
        let is_own = !places.in_query(token) || !others.contains(from) || qualified.contains(&token.start);
        if is_own && is_column(&places.tokens, index, token, from) {
            edits.push((token.start, token.end, quoted.to_owned()));
        }
    }
    edited(text, &edits)
}

/// What subqueries of the text may name.
pub fn names_in_queries(text: &str) -> BTreeSet<String> {
    let places = Places::of(text);
    let names = places.tokens.iter().filter(|token| is_name(token) && places.in_query(token));
    names.map(|token| token.value.clone()).collect()
}

struct Places {
    tokens: Vec<Token>,
    /// First and last byte of each outermost subquery.
    queries: Vec<(usize, usize)>,
}

impl Places {
    fn of(text: &str) -> Self {
        let tokens = scan::scan(text);
        let mut open: Vec<(usize, bool)> = Vec::new();
        let mut queries = Vec::new();
        for (index, token) in tokens.iter().enumerate() {
            if is_operator(Some(token), "(") {
                let begins = tokens.get(index + 1).is_some_and(|next| {
                    matches!(next.kind, Kind::Word(_))
                        && matches!(next.value.as_str(), "select" | "with" | "values" | "table")
                });
                open.push((token.start, begins));
            } else if is_operator(Some(token), ")")
                && let Some((start, true)) = open.pop()
                && !open.iter().any(|(_, query)| *query)
            {
                queries.push((start, token.end));
            }
        }
        Self { tokens, queries }
    }

    fn in_query(&self, token: &Token) -> bool {
        self.queries.iter().any(|(start, end)| (*start..*end).contains(&token.start))
    }

    /// Names of several parts that are columns': no functions, no `t.*`.
    fn chains(&self) -> Vec<Vec<&Token>> {
        let mut chains = Vec::new();
        let mut at = 0;
        while let Some(first) = self.tokens.get(at) {
            at += 1;
            if !is_name(first) {
                continue;
            }
            let mut chain = vec![first];
            while is_operator(self.tokens.get(at), ".") {
                let Some(next) = self.tokens.get(at + 1).filter(|next| is_name(next)) else { break };
                chain.push(next);
                at += 2;
            }
            let goes_on = is_operator(self.tokens.get(at), ".") || is_operator(self.tokens.get(at), "(");
            if chain.len() > 1 && !goes_on {
                chains.push(chain);
            }
        }
        chains
    }
}

fn is_name(token: &Token) -> bool {
    matches!(token.kind, Kind::Word(_) | Kind::Quoted)
}

fn is_operator(token: Option<&Token>, text: &str) -> bool {
    token.is_some_and(|token| matches!(token.kind, Kind::Operator) && token.value == text)
}

/// The text with other words at these places, which stand in its order.
fn edited(text: &str, edits: &[(usize, usize, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (start, end, words) in edits {
        out.push_str(text.get(done..*start).unwrap_or_default());
        out.push_str(words);
        done = *end;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_columns_stand_without_their_table() {
        for (text, kept) in [
            ("t.a > T.\"B\" and s.t.a < 9", "a > B and a < 9"),
            ("t.f(t.a) || 't.a' || t.a::text || count(t.*)", "t.f(a) || 't.a' || a::text || count(t.*)"),
            ("sum((select u.a from u where u.b = s.t.b)) > t.a", "sum((select u.a from u where u.b = t.b)) > a"),
            ("x.t.a + u.a", "x.t.a + u.a"),
        ] {
            assert_eq!(with_own_columns(text, (Some("s"), "t"), str::to_owned), kept);
        }
    }

    #[test]
    fn a_table_is_renamed_in_subqueries() {
        for (text, renamed) in [
            ("sum((select u.a from u where u.b = t.b)) > a", "sum((select u.a from u where u.b = v.b)) > a"),
            ("max(a) > (select max(t.a) from u as t)", "max(a) > (select max(t.a) from u as t)"),
        ] {
            assert_eq!(with_table_renamed(text, "t", "v"), renamed);
        }
    }

    #[test]
    fn a_column_is_renamed_where_it_is_the_tables_own() {
        let others = BTreeSet::from(["a".to_owned()]);
        for (text, renamed) in [
            ("max(a) > (select max(a) from u where t.a > u.a)", "max(b) > (select max(a) from u where t.b > u.a)"),
            ("max(a) > 1", "max(b) > 1"),
        ] {
            assert_eq!(with_own_column_renamed(text, ("t", "a"), "b", &others), renamed);
        }
        let text = "max(a) > (select max(c) from u where a > c)";
        let renamed = "max(b) > (select max(c) from u where b > c)";
        assert_eq!(with_own_column_renamed(text, ("t", "a"), "b", &BTreeSet::new()), renamed);
        assert!(names_in_queries(text).contains("c"));
        assert!(!names_in_queries("max(a)").contains("a"));
    }
}

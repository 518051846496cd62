//! The catalogue of docs/expectations.md: every row of tests/quality/catalogue.toml passes on good data and fails on bad data,
//! Great Expectations says the same of its own on the same data, and the page shows the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;

use crate::files::{root, updating};
use crate::protocol::{Answer, Connection};
use crate::server::{Home, Server};

/// The sections of the file, in the page's order, with what the page calls them.
const SECTIONS: [(&str, &str); 6] = [
    ("great_expectations", "Great Expectations"),
    ("dqdl", "AWS Glue Data Quality (DQDL)"),
    ("deequ", "Deequ"),
    ("dbt", "dbt"),
    ("dbt_utils", "dbt-utils"),
    ("dbt_expectations", "dbt-expectations"),
];

const BEGIN: &str = "<!-- catalogue: begin -->\n";
const END: &str = "<!-- catalogue: end -->\n";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    /// What follows `CONSTRAINT name`.
    row: Option<String>,
    /// What follows `CREATE EXPECTATION name ON t`.
    set: Option<String>,
    /// The rule's WHERE.
    #[serde(rename = "where")]
    filter: Option<String>,
    /// The rule is about a materialized view of this query.
    view: Option<String>,
    /// Says the same as this one of Great Expectations.
    like: Option<String>,
    #[serde(default = "good")]
    good: String,
    #[serde(default = "bad")]
    bad: String,
    /// Rows of the bad data that break it.
    #[serde(default)]
    failed: u64,
    ge: Option<toml::Table>,
    /// Why Great Expectations is not asked.
    ge_not: Option<String>,
    /// Whether it counts the same rows as checked.
    #[serde(default = "yes")]
    ge_checked: bool,
}

fn good() -> String {
    "good".to_owned()
}
fn bad() -> String {
    "bad".to_owned()
}
fn yes() -> bool {
    true
}

fn folder() -> PathBuf {
    root().join("tests/quality")
}

fn catalogue() -> BTreeMap<String, Vec<Row>> {
    toml::from_str(&std::fs::read_to_string(folder().join("catalogue.toml")).unwrap()).unwrap()
}

/// What became of one rule.
#[derive(Debug)]
struct Outcome {
    status: String,
    checked: u64,
    failed: u64,
}

/// By rule.
fn outcomes(answer: &Answer) -> BTreeMap<String, Outcome> {
    let columns = answer.columns.as_ref().unwrap();
    let place = |name: &str| columns.iter().position(|column| column.name == name).unwrap();
    let (rule, status, checked, failed) = (place("rule"), place("status"), place("checked"), place("failed"));
    let text = |row: &[Option<bytes::Bytes>], at: usize| {
        row[at].as_ref().map_or_else(String::new, |value| String::from_utf8(value.to_vec()).unwrap())
    };
    let one = |row: &Vec<Option<bytes::Bytes>>| {
        let number = |at| text(row, at).parse().unwrap_or(0);
        let outcome = Outcome { status: text(row, status), checked: number(checked), failed: number(failed) };
        (text(row, rule), outcome)
    };
    answer.rows.iter().map(one).collect()
}

struct Catalogue {
    connection: Connection,
    failures: Vec<String>,
}

impl Catalogue {
    async fn run(&mut self, sql: &str, of: &str) -> bool {
        let error = self.connection.command(sql).await.err();
        self.failures.extend(error.as_ref().map(|error| format!("{of}: {error}\n{sql}")));
        error.is_none()
    }

    /// Makes the rule; tells the table that it is a rule of.
    async fn make(&mut self, row: &Row, rule: &str, table: &str) -> Option<String> {
        let put = |text: &str, table: &str| text.replace("{t}", table);
        let of = format!("{} on {table}", row.name);
        let mut about = table.to_owned();
        if let Some(view) = &row.view {
            about = format!("{rule}_of_{table}");
            let made = format!("CREATE MATERIALIZED VIEW {about} AS {}", put(view, table));
            if !self.run(&made, &of).await {
                return None;
            }
        }
        let sql = match (&row.row, &row.set) {
            (Some(text), None) => format!("ALTER TABLE {about} ADD CONSTRAINT {rule} {}", put(text, table)),
            (None, Some(text)) => {
                let filter = row.filter.as_ref().map_or_else(String::new, |filter| format!("WHERE {filter} "));
                format!("CREATE EXPECTATION {rule} ON {about} {filter}{}", put(text, table))
            }
            _ => panic!("{} has neither a row rule nor a set rule, or both", row.name),
        };
        self.run(&sql, &of).await.then_some(about)
    }
}

/// Outcomes of every row that has a rule: section, number of the row, table.
async fn validated() -> (BTreeMap<(String, usize, String), Outcome>, Vec<String>) {
    let server = Server::start_in(&Home::new(), &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let fixture = std::fs::read_to_string(folder().join("fixture.sql")).unwrap();
    let fixture = fixture.replace("{folder}", &folder().display().to_string());
    for statement in fixture.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        connection.command(statement).await.unwrap_or_else(|error| panic!("{error}\n{statement}"));
    }
    let mut made = Catalogue { connection, failures: Vec::new() };
    let mut about: BTreeMap<String, Vec<(String, usize, String)>> = BTreeMap::new();
    for (section, rows) in &catalogue() {
        for (number, row) in rows.iter().enumerate().filter(|(_, row)| row.like.is_none()) {
            for table in [&row.good, &row.bad].into_iter().filter(|table| !table.is_empty()) {
                let rule = format!("{section}_{number}");
                if let Some(relation) = made.make(row, &rule, table).await {
                    about.entry(relation).or_default().push((section.clone(), number, table.clone()));
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    for (relation, rules) in about {
        let answer = match made.connection.query(&format!("VALIDATE {relation} WITH (samples = 0)")).await {
            Ok(answer) => answer,
            Err(error) => {
                made.failures.push(format!("VALIDATE {relation}: {error}"));
                continue;
            }
        };
        let mut outcomes = outcomes(&answer);
        for (section, number, table) in rules {
            let outcome = outcomes.remove(&format!("{section}_{number}")).unwrap();
            found.insert((section, number, table), outcome);
        }
    }
    (found, made.failures)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_catalogue_passes_and_fails() {
    let (found, mut failures) = validated().await;
    for (section, rows) in &catalogue() {
        for (number, row) in rows.iter().enumerate() {
            let is = |table: &String, status: &str, failed: Option<u64>| {
                let outcome = found.get(&(section.clone(), number, table.clone()))?;
                let right = outcome.status == status && failed.is_none_or(|failed| outcome.failed == failed);
                (!right).then(|| format!("{section} {} on {table}: {outcome:?}", row.name))
            };
            failures.extend(is(&row.good, "passed", None));
            failures.extend(is(&row.bad, "failed", (row.failed > 0).then_some(row.failed)));
        }
    }
    let judged = judged();
    let rows = &catalogue()["great_expectations"];
    for told in judged.iter().filter(|told| told.row.is_some()) {
        let number = told.row.unwrap();
        let row = &rows[number];
        let Some(outcome) = found.get(&("great_expectations".to_owned(), number, told.data.clone())) else { continue };
        let mut differences = Vec::new();
        // A condition over aggregates counts no rows.
        let counts = row.row.is_some() || row.failed > 0;
        if told.success != Some(outcome.status == "passed") {
            differences.push("verdict");
        }
        if counts && told.unexpected.is_some_and(|unexpected| unexpected != outcome.failed) {
            differences.push("failed");
        }
        let checked = told.elements.map(|elements| elements - told.missing.unwrap_or(0));
        if counts && row.ge_checked && checked.is_some_and(|checked| checked != outcome.checked) {
            differences.push("checked");
        }
        if !differences.is_empty() {
            failures.push(format!("{} differs in {differences:?}: {outcome:?}, {told:?}", row.name));
        }
    }
    assert!(failures.is_empty(), "{} failures\n\n{}", failures.len(), failures.join("\n"));
}

/// A line of judge.py.
#[derive(Debug, Deserialize)]
struct Judged {
    row: Option<usize>,
    #[serde(default)]
    data: String,
    success: Option<bool>,
    elements: Option<u64>,
    missing: Option<u64>,
    unexpected: Option<u64>,
    /// Every expectation that there is.
    #[serde(default)]
    core: BTreeSet<String>,
    #[expect(dead_code, reason = "told in messages")]
    exception: Option<String>,
    #[expect(dead_code, reason = "told in messages")]
    version: Option<String>,
}

/// What Great Expectations says of its rows; nothing where it is not installed.
fn judged() -> Vec<Judged> {
    let Ok(venv) = std::env::var("LAKEGATE_TEST_VENV") else { return Vec::new() };
    let said =
        std::process::Command::new(format!("{venv}/bin/python")).arg(folder().join("judge.py")).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let lines = String::from_utf8(said.stdout).unwrap();
    let judged: Vec<Judged> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: BTreeSet<String> = catalogue()["great_expectations"].iter().map(|row| row.name.clone()).collect();
    assert_eq!(judged.last().unwrap().core, names, "the catalogue has other expectations than Great Expectations");
    judged
}

/// The tables of the page.
fn shown() -> String {
    let catalogue = catalogue();
    let mut page = String::new();
    for (section, title) in SECTIONS {
        page.push_str(&format!("\n### {title}\n\n| There | Here |\n| --- | --- |\n"));
        for row in &catalogue[section] {
            page.push_str(&format!("| `{}` | {} |\n", row.name, rule_shown(row)));
        }
    }
    page.push('\n');
    page
}

fn rule_shown(row: &Row) -> String {
    // A bar would end the cell.
    let code = |text: &str| format!("`{}`", text.replace("{t}", "t").replace('|', "\\|"));
    if let Some(like) = &row.like {
        return format!("as {}", code(like));
    }
    let over = row.view.as_ref().map_or_else(String::new, |view| format!("of a materialized view {}: ", code(view)));
    let rule = match (&row.row, &row.filter) {
        (Some(text), _) => code(&format!("CONSTRAINT … {text}")),
        (None, Some(filter)) => code(&format!("WHERE {filter} {}", row.set.as_deref().unwrap_or_default())),
        (None, None) => code(row.set.as_deref().unwrap_or_default()),
    };
    format!("{over}{rule}")
}

#[test]
fn the_page_shows_the_catalogue() {
    let path = root().join("docs/expectations.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if found != shown() && updating() {
        std::fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", shown())).unwrap();
        return;
    }
    assert!(found == shown(), "docs/expectations.md differs from the catalogue: run with LAKEGATE_SUITE_UPDATE=1");
    let catalogue = catalogue();
    let names: BTreeSet<&String> = catalogue["great_expectations"].iter().map(|row| &row.name).collect();
    for row in catalogue.values().flatten() {
        assert!(row.like.as_ref().is_none_or(|like| names.contains(like)), "{} is like none", row.name);
        assert!(row.ge.is_none() || row.ge_not.is_none(), "{} is compared and not compared", row.name);
    }
}

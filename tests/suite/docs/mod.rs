//! Every block of SQL in README.md and docs/ runs, in order, on a server of its own for each page.
//!
//! A fence says `sql` and then, if need be, `skip` or `error=42P01`. What pages promise in tables of prose is held by the
//! modules below.

mod catalogs;
mod limits;
mod refused;

use std::path::Path;

use crate::files::{below, check_all, root, shown};
use crate::protocol::{Connection, Failure};
use crate::server::{Home, Server};

/// A fenced block of SQL.
struct Block {
    line: usize,
    /// The SQLSTATE that its last statement must fail with.
    error: Option<String>,
    sql: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Option<Block>> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(information)) => {
                let mut words = information.split_whitespace();
                let is_sql = words.next() == Some("sql");
                let marks: Vec<&str> = words.collect();
                let error = marks.iter().find_map(|mark| mark.strip_prefix("error=")).map(str::to_owned);
                let runs = is_sql && !marks.contains(&"skip");
                open = Some(runs.then(|| Block { line: number + 1, error, sql: String::new() }));
            }
            (Some(_), Some(_)) => blocks.extend(open.take().flatten()),
            (Some(Some(block)), None) => {
                block.sql.push_str(line);
                block.sql.push('\n');
            }
            _ => {}
        }
    }
    blocks
}

/// Statements of a block, each sent by itself: split at semicolons outside quotes and comments.
fn statements(sql: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    let (mut quote, mut rest) = (None::<String>, sql);
    while let Some(character) = rest.chars().next() {
        let length = match &quote {
            Some(end) if rest.starts_with(end.as_str()) => {
                let length = end.len();
                quote = None;
                length
            }
            Some(_) => character.len_utf8(),
            None if rest.starts_with("--") => {
                quote = Some("\n".to_owned());
                2
            }
            None if rest.starts_with("/*") => {
                quote = Some("*/".to_owned());
                2
            }
            None if rest.starts_with("$$") => {
                quote = Some("$$".to_owned());
                2
            }
            None if matches!(character, '\'' | '"') => {
                quote = Some(character.to_string());
                1
            }
            None if character == ';' => {
                statements.push(String::new());
                rest = &rest[1..];
                continue;
            }
            None => character.len_utf8(),
        };
        let (taken, after) = rest.split_at(length);
        statements.last_mut().unwrap().push_str(taken);
        rest = after;
    }
    let empty = |text: &String| text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with("--"));
    statements.retain(|statement| !empty(statement));
    statements
}

async fn run_block(connection: &mut Connection, block: &Block, file: &Path) -> Result<(), String> {
    let place = format!("{}:{}", shown(file), block.line);
    let statements = statements(&block.sql);
    for (number, statement) in statements.iter().enumerate() {
        let last = number + 1 == statements.len();
        // The folder of a checkout is what relative paths are relative to.
        let statement = statement.replace("'sql/demo/", &format!("'{}/sql/demo/", root().display()));
        match (connection.query(statement.trim()).await, &block.error) {
            (Ok(_), Some(code)) if last => return Err(format!("{place}: must fail with {code}:\n{statement}")),
            (Ok(_), _) => {}
            (Err(Failure::Refused(told)), Some(code)) if last && told.code() == code => {}
            (Err(error), _) => return Err(format!("{place}: {error}\n{}", statement.trim())),
        }
    }
    Ok(())
}

async fn run_page(file: std::path::PathBuf) -> Vec<String> {
    let blocks = blocks(&std::fs::read_to_string(&file).unwrap());
    if blocks.is_empty() {
        return Vec::new();
    }
    let server = Server::start_in(&Home::new(), &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let mut failures = Vec::new();
    for block in &blocks {
        failures.extend(run_block(&mut connection, block, &file).await.err());
        // A block that ends in an error may leave a transaction behind.
        let _ = connection.command("ROLLBACK").await;
    }
    failures
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sql_block_of_the_documentation_runs() {
    let mut files = below("docs", "md");
    files.push(root().join("README.md"));
    check_all(files, run_page).await;
}

/// The cells of the tables under a heading of a page, without their heads.
fn cells(page: &str, heading: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let mut lines = text.lines().skip_while(|line| *line != heading).skip(1);
    let mut rows = Vec::new();
    let section = lines.by_ref().take_while(|line| !line.starts_with("## "));
    let mut in_body = false;
    for line in section {
        let is_row = line.starts_with('|');
        let is_rule = is_row && line.chars().all(|character| matches!(character, '|' | '-' | ' '));
        if is_row && in_body {
            rows.push(line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect());
        }
        in_body = is_rule || (in_body && is_row);
    }
    assert!(!rows.is_empty(), "{page} has no table under {heading}");
    rows
}

#[test]
fn blocks_and_statements_are_found() {
    let found =
        blocks("text\n```sql error=42P01\nSELECT 1;\nSELECT ';' -- ;\n```\n```sh\nls\n```\n```sql skip\nx\n```\n");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].error.as_deref(), Some("42P01"));
    assert_eq!(statements(&found[0].sql).len(), 2);
}

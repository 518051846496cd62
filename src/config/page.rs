//! The parts of the user documentation that are generated, held to the code by tests.
//!
//! Such a part stands between two comments of a page. `LAKEGATE_WRITE_PAGES=1 cargo test --lib page_` writes it anew.

use std::path::PathBuf;

const BEGIN: &str = "<!-- generated: begin -->\n";
const END: &str = "<!-- generated: end -->\n";
const WRITE: &str = "LAKEGATE_WRITE_PAGES";

/// The root of the package. Asked when the tests run, not when they are compiled: checkouts that share a target
/// folder share what is compiled.
fn root() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
}

/// Panics when the generated part of `docs/<page>` is not `expected`, or writes it when the environment says so.
pub(crate) fn check(page: &str, expected: &str) {
    let path = root().join("docs").join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the page has no generated part");
    let (found, after) = rest.split_once(END).expect("the generated part has no end");
    if found == expected {
        return;
    }
    assert!(
        std::env::var_os(WRITE).is_some(),
        "docs/{page} differs from the code: run LAKEGATE_WRITE_PAGES=1 cargo test --lib page_\n{}",
        first_difference(found, expected)
    );
    std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
}

fn first_difference(found: &str, expected: &str) -> String {
    let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    differs.map_or_else(
        || format!("the page has {} lines, the code gives {}", found.lines().count(), expected.lines().count()),
        |(found, expected)| format!("page: {found}\ncode: {expected}"),
    )
}

/// A table of Markdown.
pub(crate) fn table(titles: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let titles: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
    let rule: Vec<String> = titles.iter().map(|_| "---".to_owned()).collect();
    let mut text = line(&titles) + &line(&rule);
    for row in rows {
        text += &line(&row.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>());
    }
    text
}

/// Text as code, nothing for nothing.
pub(crate) fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

//! Finds the files of the suite and runs some of them at the same time.

use std::path::{Path, PathBuf};

use futures::StreamExt;

/// How many files run at the same time.
const FILES_AT_ONCE: usize = 4;

/// The root of the package. Asked when the tests run, not when they are compiled: checkouts that share a target
/// folder share what is compiled.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
}

/// All files with the extension below a folder of the package, in order of their names.
pub(crate) fn below(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&root().join(folder), extension, &mut found);
    found.sort();
    if let Ok(wanted) = std::env::var("LAKEGATE_SUITE_FILES") {
        found.retain(|file| file.to_string_lossy().contains(&wanted));
    }
    found
}

fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, extension, found);
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
}

/// Whether expected answers are to be written anew.
pub(crate) fn updating() -> bool {
    std::env::var("LAKEGATE_SUITE_UPDATE").is_ok_and(|value| value == "1")
}

/// Runs `check` on every file, a few at once, and panics with all their failures.
pub(crate) async fn check_all<F, Fut>(files: Vec<PathBuf>, check: F)
where
    F: Fn(PathBuf) -> Fut,
    Fut: Future<Output = Vec<String>>,
{
    let count = files.len();
    let mut files = files;
    // The longest first, so that none of them is left for the end.
    files.sort_by_key(|file| std::cmp::Reverse(std::fs::metadata(file).map_or(0, |found| found.len())));
    let checked = files.into_iter().map(|file| {
        let failures = check(file.clone());
        async move { (file, failures.await) }
    });
    let mut checked: Vec<(PathBuf, Vec<String>)> =
        futures::stream::iter(checked).buffer_unordered(FILES_AT_ONCE).collect().await;
    checked.sort();
    let failures: Vec<String> = checked.into_iter().flat_map(|(_, failures)| failures).collect();
    assert!(failures.is_empty(), "{} failures in {count} files\n\n{}", failures.len(), failures.join("\n\n"));
}

/// The path inside the package, for messages.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

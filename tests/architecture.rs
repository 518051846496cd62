//! Holds the layer table of `src/README.md` to the imports: a module uses only modules that stand lower in the list.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// From the roof to the ground. Tests of a module may use anything.
const LAYERS: &[&str] = &[
    "cli", "app", "server", "protocol", "query", "execute", "plan", "sql", "session", "builtins", "catalog", "engine",
    "lake", "models", "encode", "quality", "auth", "console", "observe", "config", "error",
];

/// Crates that only one module may name.
const FENCES: &[(&str, &[&str])] = &[
    ("rustls", &["server", "protocol"]),
    ("axum", &["console"]),
    ("clap", &["cli"]),
    ("delta_kernel", &["lake"]),
    ("prost", &["models"]),
];

fn source_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The code of a file without its test module and without comments.
fn code_of(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The top-level module that a file belongs to, `None` for `main.rs` and `lib.rs`.
fn module_of(root: &Path, file: &Path) -> Option<String> {
    let relative = file.strip_prefix(root).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    let name = first.strip_suffix(".rs").unwrap_or(&first).to_owned();
    (!matches!(name.as_str(), "main" | "lib")).then_some(name)
}

/// Names that follow `crate::` in the code, in `use crate::{a, b}` too.
fn modules_used(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for part in code.split("crate::").skip(1) {
        if let Some(list) = part.strip_prefix('{') {
            let mut depth = 0usize;
            let mut word = String::new();
            for character in list.chars() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => used.push(std::mem::take(&mut word)),
                    _ if depth == 0 => word.push(character),
                    _ => {}
                }
            }
            used.push(word);
        } else {
            used.push(part.to_owned());
        }
    }
    used.iter()
        .map(|path| path.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>())
        .filter(|name| !name.is_empty())
        .collect()
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| *layer == module)
}

/// Unit tests in files of their own (`tests.rs`, `tests/`) are not part of the layers.
fn is_test_file(path: &Path) -> bool {
    path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs" | "faulty.rs")))
}

/// The root of the package. Asked when the tests run, not when they are compiled: checkouts that share a target
/// folder share what is compiled.
fn package() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
}

fn sources() -> (PathBuf, Vec<PathBuf>) {
    let root = package().join("src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    files.retain(|file| !is_test_file(file));
    assert!(files.len() > 50, "the walk found only {} files", files.len());
    (root, files)
}

#[test]
fn modules_use_only_lower_modules() {
    let (root, files) = sources();
    let mut wrong = BTreeMap::new();
    for file in files {
        let Some(module) = module_of(&root, &file) else { continue };
        let Some(own) = rank(&module) else {
            wrong.insert(format!("{}", file.display()), format!("module {module} has no layer"));
            continue;
        };
        for used in modules_used(&code_of(&file)) {
            if let Some(other) = rank(&used)
                && other < own
            {
                wrong.insert(format!("{}", file.display()), format!("{module} uses {used}, which stands higher"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn fenced_crates_stay_behind_their_fence() {
    let (root, files) = sources();
    let mut wrong = Vec::new();
    for file in files {
        let Some(module) = module_of(&root, &file) else { continue };
        let code = code_of(&file);
        for (name, allowed) in FENCES {
            let named = code.contains(&format!("{name}::")) && !code.contains(&format!("tokio_{name}::"));
            if named && !allowed.contains(&module.as_str()) && module != "app" {
                wrong.push(format!("{} names {name}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Two versions of one of these in a build would be two incompatible worlds of data.
const LIBRARIES_OF_DATA: &[&str] =
    &["arrow", "arrow-array", "datafusion", "deltalake-core", "object_store", "parquet", "sqlparser"];

#[test]
fn libraries_of_data_have_one_version() {
    let lock = std::fs::read_to_string(package().join("Cargo.lock")).unwrap();
    for library in LIBRARIES_OF_DATA {
        assert_eq!(lock.matches(&format!("\nname = \"{library}\"\n")).count(), 1, "{library}");
    }
}

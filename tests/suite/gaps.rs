//! The list of known gaps, `tests/sql/gaps.txt`: statements that PostgreSQL and Lakegate answer differently.
//!
//! A statement of the list must fail: once it is answered right, the suite asks to take it out. So the list can only shrink, and
//! what is not in it stays right. `LAKEGATE_SUITE_UPDATE=gaps` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use crate::files::root;
use crate::slt::Target;

/// File of the suite, and a statement on one line.
type Key = (String, String);

/// By statement: the modes in which it fails.
type List = BTreeMap<Key, BTreeSet<&'static str>>;

const MODES: [&str; 3] = ["simple", "extended", DESCRIBED];

/// Not a mode of its own: the comparison of columns' descriptions.
const DESCRIBED: &str = "described";

fn path() -> PathBuf {
    root().join("tests/sql/gaps.txt")
}

fn updating() -> bool {
    std::env::var("LAKEGATE_SUITE_UPDATE").is_ok_and(|value| value == "gaps")
}

/// `pg/json.slt simple,extended SELECT …` in each line.
fn parse(text: &str) -> List {
    let mut list = List::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.splitn(3, ' ');
        let (Some(file), Some(modes), Some(sql)) = (words.next(), words.next(), words.next()) else { continue };
        let modes = MODES.into_iter().filter(|mode| modes.split(',').any(|own| own == *mode)).collect();
        list.insert((file.to_owned(), sql.to_owned()), modes);
    }
    list
}

fn known() -> &'static List {
    static KNOWN: OnceLock<List> = OnceLock::new();
    KNOWN.get_or_init(|| parse(&std::fs::read_to_string(path()).unwrap_or_default()))
}

/// The gaps of one file in one mode.
pub(crate) struct Gaps {
    file: String,
    mode: &'static str,
    /// PostgreSQL has none.
    applies: bool,
    found: BTreeSet<Key>,
}

impl Gaps {
    pub(crate) fn of_file(file: &Path, target: &Target) -> Self {
        let name = file.strip_prefix(root().join("tests/sql")).unwrap_or(file).display().to_string();
        Self { file: name, mode: target.mode.label(), applies: target.engine == "lakegate", found: BTreeSet::new() }
    }

    /// For the comparison of columns.
    pub(crate) fn of_descriptions(file: &Path) -> Self {
        let name = file.strip_prefix(root().join("tests/sql")).unwrap_or(file).display().to_string();
        Self { file: name, mode: DESCRIBED, applies: true, found: BTreeSet::new() }
    }

    fn key(&self, sql: &str) -> Key {
        (self.file.clone(), sql.replace('\n', "⏎"))
    }

    /// Whether the list says that the statement fails here; one that stands several times in a file may fail in some places.
    pub(crate) fn expects(&self, sql: &str, failed: bool) -> bool {
        let key = self.key(sql);
        let listed = self.applies && !updating() && known().get(&key).is_some_and(|modes| modes.contains(self.mode));
        listed && (failed || !self.found.contains(&key) && !self.repeated(sql))
    }

    fn repeated(&self, sql: &str) -> bool {
        let text = std::fs::read_to_string(root().join("tests/sql").join(&self.file)).unwrap_or_default();
        text.matches(&format!("\n{sql}\n")).count() > 1
    }

    /// A statement that failed.
    pub(crate) fn note(&mut self, sql: &str) {
        let key = self.key(sql);
        self.found.insert(key);
    }

    /// Writes what was found into the list when that was asked for; whether it was.
    pub(crate) fn written(&self) -> bool {
        static WRITING: Mutex<()> = Mutex::new(());
        if !updating() || !self.applies {
            return false;
        }
        let _alone = WRITING.lock().unwrap();
        let mut list = parse(&std::fs::read_to_string(path()).unwrap_or_default());
        for (key, modes) in &mut list {
            if key.0 == self.file {
                modes.remove(self.mode);
            }
        }
        for key in &self.found {
            list.entry(key.clone()).or_default().insert(self.mode);
        }
        let mut text = String::from(
            "# Statements that Lakegate answers otherwise than the files say: file, modes, statement. The list can only shrink.\n",
        );
        for ((file, sql), modes) in list.iter().filter(|(_, modes)| !modes.is_empty()) {
            let modes: Vec<&str> = modes.iter().copied().collect();
            text.push_str(&format!("{file} {} {sql}\n", modes.join(",")));
        }
        std::fs::write(path(), text).unwrap();
        true
    }
}

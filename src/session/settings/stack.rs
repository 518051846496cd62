//! What the end of a transaction does to settings: COMMIT keeps SET and undoes SET LOCAL, ROLLBACK undoes both.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Key, OF_TRANSACTION, POSITIONS, Settings, Value};

/// The session's values of the settings that this transaction changed; `None` stands for "not set in the session".
#[derive(Debug, Default)]
pub(super) struct Undo {
    changes: HashMap<Key, Change>,
}

#[derive(Debug)]
struct Change {
    before: Option<Value>,
    at_commit: Option<Value>,
}

impl Undo {
    /// Notes a change that is about to be made.
    pub(super) fn note(&mut self, key: &Key, current: Option<&Value>, new: Option<&Value>, local: bool) {
        let change = self
            .changes
            .entry(key.clone())
            .or_insert_with(|| Change { before: current.cloned(), at_commit: current.cloned() });
        if !local {
            change.at_commit = new.cloned();
        }
    }
}

impl Settings {
    /// A transaction starts, be it one statement's own. Inside a transaction it changes nothing.
    pub fn begin(&mut self) {
        self.undo.get_or_insert_default();
    }

    /// The transaction was committed. Whether it had changed any setting.
    pub fn commit(&mut self) -> bool {
        self.end(|change| change.at_commit)
    }

    /// The transaction was rolled back. Whether it had changed any setting.
    pub fn rollback(&mut self) -> bool {
        self.end(|change| change.before)
    }

    fn end(&mut self, keep: impl Fn(Change) -> Option<Value>) -> bool {
        let Some(undo) = self.undo.take() else { return false };
        if undo.changes.is_empty() {
            return false;
        }
        for (key, change) in undo.changes {
            match (keep(change), &key) {
                (Some(value), _) => drop(self.session.insert(key, value)),
                // A custom name that was once used stays known, with an empty value.
                (None, Key::Custom(_)) => drop(self.session.insert(key, Value::Text(String::new()))),
                (None, Key::Known(_)) => drop(self.session.remove(&key)),
            }
        }
        self.touch();
        true
    }
}

/// The characteristics that a transaction takes from the session's defaults: their positions in the table.
static CHARACTERISTICS: LazyLock<Vec<(Key, Key)>> = LazyLock::new(|| {
    let position = |name: &str| POSITIONS.get(name).copied().map(Key::Known);
    OF_TRANSACTION.iter().filter_map(|name| Some((position(name)?, position(&format!("default_{name}"))?))).collect()
});

impl Settings {
    /// A transaction starts with the session's default characteristics; they end with it.
    pub fn begin_transaction(&mut self) {
        self.begin();
        for (own, default) in CHARACTERISTICS.iter() {
            if self.value(own) == self.value(default) {
                continue;
            }
            if let Some(value) = self.value(default).cloned() {
                self.assign(own.clone(), Some(value), true);
            }
        }
    }
}

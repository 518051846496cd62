//! Which data files this process still needs: those of versions that somebody holds or scans, and those on their way into a
//! commit. Nothing removes them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use object_store::path::Path;
use parking_lot::Mutex;

use super::data_file::DataFile;

/// The files of a version. Whoever reads them holds the list.
pub(super) type Files = Vec<Arc<DataFile>>;

/// Of all tables of the process, by their places.
#[derive(Debug, Default)]
pub(super) struct Live {
    held: Mutex<HashMap<String, Vec<Weak<Files>>>>,
    staged: Mutex<HashMap<String, HashSet<Path>>>,
    /// Transactions that write a table.
    transactions: Mutex<HashMap<String, Vec<Weak<()>>>>,
}

impl Live {
    /// Keeps an eye on the files for as long as somebody holds them.
    pub(super) fn hold(&self, place: &str, files: Files) -> Arc<Files> {
        let files = Arc::new(files);
        let mut held = self.held.lock();
        if let Some(of_place) = held.get_mut(place) {
            of_place.retain(|files| files.strong_count() > 0);
            of_place.push(Arc::downgrade(&files));
        } else {
            held.retain(|_, of_place| of_place.iter().any(|files| files.strong_count() > 0));
            held.insert(place.to_owned(), vec![Arc::downgrade(&files)]);
        }
        files
    }

    /// A transaction writes the table for as long as the answer is held.
    pub(super) fn begin(&self, place: &str) -> Arc<()> {
        let begun = Arc::new(());
        let mut transactions = self.transactions.lock();
        transactions.retain(|_, of_place| of_place.iter().any(|begun| begun.strong_count() > 0));
        transactions.entry(place.to_owned()).or_default().push(Arc::downgrade(&begun));
        begun
    }

    pub(super) fn is_in_transaction(&self, place: &str) -> bool {
        let transactions = self.transactions.lock();
        transactions.get(place).is_some_and(|begun| begun.iter().any(|begun| begun.strong_count() > 0))
    }

    pub(super) fn stage(&self, place: &str, file: Path) {
        self.staged.lock().entry(place.to_owned()).or_default().insert(file);
    }

    /// The file is committed, or gone.
    pub(super) fn unstage<'a>(&self, place: &str, files: impl Iterator<Item = &'a Path>) {
        let mut staged = self.staged.lock();
        if let Some(of_place) = staged.get_mut(place) {
            for file in files {
                of_place.remove(file);
            }
            if of_place.is_empty() {
                staged.remove(place);
            }
        }
    }

    /// The files of that place that must stay.
    pub(super) fn needed(&self, place: &str) -> HashSet<Path> {
        let held: Vec<Arc<Files>> =
            self.held.lock().get(place).into_iter().flatten().filter_map(Weak::upgrade).collect();
        let mut needed: HashSet<Path> = self.staged.lock().get(place).cloned().unwrap_or_default();
        needed.extend(held.iter().flat_map(|files| files.iter().map(|file| file.path.clone())));
        needed
    }

    /// Whether anybody holds a version of the table there, or writes to it.
    pub(super) fn is_held(&self, place: &str) -> bool {
        self.staged.lock().contains_key(place)
            || self.held.lock().get(place).is_some_and(|held| held.iter().any(|files| files.strong_count() > 0))
    }
}

//! Rules about each row that the one scan counts file by file.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Schema, SchemaRef};

use super::check::{Checker, One, Rows};
use crate::execute::watched::row_rule;
use crate::plan::relations::{Relation, RelationColumn, ResolvedTable};
use crate::quality::witness::{FileCounts, FileWatch};
use crate::quality::{Expectation, ExpectationRule, RowRule, ViolationAction, Watch};

/// The rules by their places among all.
pub(super) struct Counting {
    watched: Watched,
    /// With whether a file is to be asked, by the files' numbers.
    rules: HashMap<usize, (RowRule, Option<BooleanBuffer>)>,
    counted: HashMap<usize, Counted>,
}

/// What a rule's files gave.
pub(super) struct Counted {
    pub files: Vec<(usize, FileCounts)>,
    /// The first condition that could not be evaluated.
    pub error: Option<String>,
}

/// What rules about each row read.
pub(super) struct Watched {
    pub columns: Vec<String>,
    pub rows: SchemaRef,
    relation: Vec<RelationColumn>,
}

/// Whether rows are asked one by one, and all of them.
pub(super) fn is_of_rows(one: &One<'_>) -> bool {
    matches!(&one.rule.rule, ExpectationRule::Row { .. } if one.rule.filter.is_none())
}

impl Watched {
    pub fn new<'o, 'a: 'o>(checker: &Checker<'_, '_, '_>, ones: impl Iterator<Item = &'o One<'a>>) -> Self {
        let read: BTreeSet<&String> = ones.flat_map(|one| &one.rule.columns).collect();
        let all = checker.checked.relation.columns().iter().zip(checker.fields.fields());
        let mut read: Vec<_> = all.clone().filter(|(column, _)| read.contains(&column.name)).collect();
        if read.is_empty() {
            read.extend(all.take(1));
        }
        let relation: Vec<RelationColumn> = read.iter().map(|(column, _)| (*column).clone()).collect();
        let fields: Vec<_> = read.iter().map(|(_, field)| field.as_ref().clone().with_nullable(true)).collect();
        let columns = relation.iter().map(|column| column.name.clone()).collect();
        Self { columns, rows: Arc::new(Schema::new(fields)), relation }
    }

    /// The rule compiled, if it can be. Nothing is refused or left out when rows are read.
    pub fn compiled(&self, checker: &Checker<'_, '_, '_>, one: &One<'_>) -> Option<RowRule> {
        let rule = Expectation { action: ViolationAction::Warn, ..one.rule.clone() };
        row_rule(&checker.checked.name, &self.relation, &self.rows, &rule, &checker.context).ok().flatten()
    }
}

impl Counting {
    pub fn new<'o, 'a: 'o>(checker: &Checker<'_, '_, '_>, ones: impl Iterator<Item = &'o One<'a>> + Clone) -> Self {
        let ones = ones.filter(|one| is_of_rows(one));
        let watched = Watched::new(checker, ones.clone());
        let rules = ones.filter_map(|one| Some((one.index, (watched.compiled(checker, one)?, None)))).collect();
        Self { watched, rules, counted: HashMap::new() }
    }

    pub fn has(&self, index: usize) -> bool {
        self.rules.contains_key(&index)
    }

    /// Whether the scan is to ask the rule of some files.
    pub fn is_counted(&self, index: usize) -> bool {
        self.asked(index).is_some()
    }

    pub fn forget(&mut self, index: usize) {
        self.rules.remove(&index);
    }

    /// Has the scan ask a rule of files; false if there is none, or no such rule.
    pub fn is_asked_of(&mut self, index: usize, files: usize, missing: &BTreeSet<usize>) -> bool {
        let Some((_, asked)) = self.rules.get_mut(&index).filter(|_| !missing.is_empty()) else { return false };
        *asked = Some(BooleanBuffer::collect_bool(files, |file| missing.contains(&file)));
        true
    }

    pub fn counted(&self, index: usize) -> Option<&Counted> {
        self.counted.get(&index)
    }

    fn asked(&self, index: usize) -> Option<(&RowRule, &BooleanBuffer)> {
        self.rules.get(&index).and_then(|(rule, files)| Some((rule, files.as_ref()?)))
    }

    /// The rows of a scan: with their files' numbers where they are counted, and of no other files where that is all.
    pub fn rows(&self, checker: &Checker<'_, '_, '_>, ones: &[One<'_>]) -> Rows {
        let rows = checker.rows();
        let mut asked = ones.iter().map(|one| self.asked(one.index).map(|(_, files)| files));
        let (Some(files), Relation::Table(own)) = (&checker.checked.files, &rows.relation) else { return rows };
        if asked.clone().all(|files| files.is_none()) {
            return rows;
        }
        let none = || BooleanBuffer::new_unset(files.table.num_files());
        let needed = asked.try_fold(none(), |all, files| Some(&all | files?));
        let needed = needed.unwrap_or_else(|| !&none());
        let provider = files.table.tagged_provider_of(needed.set_indices().collect());
        Rows { relation: Relation::Table(ResolvedTable { provider, ..own.clone() }), ..rows }
    }

    /// A watch of those of the rules that files are to be asked for, with what it is shown.
    pub fn watch(&self, rows: &Rows, ones: &[One<'_>]) -> Option<CountingWatch> {
        let Relation::Table(table) = &rows.relation else { return None };
        // The scan tells the file's number behind the table's columns.
        let tag = table.provider.schema().fields().get(table.columns.len())?.name().clone();
        let (mut rules, mut files, mut indices) = (Vec::new(), Vec::new(), Vec::new());
        for one in ones {
            let Some((rule, asked)) = self.asked(one.index) else { continue };
            rules.push(rule.clone());
            files.push(asked.clone());
            indices.push(one.index);
        }
        if rules.is_empty() {
            return None;
        }
        let watch = Arc::new(Watch::new(rules, Arc::clone(&self.watched.rows)));
        let watch = Arc::new(FileWatch::new(watch, Arc::clone(&self.watched.rows), files));
        let columns = self.watched.columns.iter().cloned().chain([tag]).collect();
        Some(CountingWatch { columns, watch, indices })
    }

    /// Takes what was counted in a scan that came to its end.
    pub fn take(&mut self, counting: &CountingWatch) {
        let errors = counting.watch.errors();
        for ((number, index), error) in counting.indices.iter().enumerate().zip(errors) {
            self.counted.insert(*index, Counted { files: counting.watch.counts(number), error });
        }
    }
}

impl Default for Counting {
    fn default() -> Self {
        let watched = Watched { columns: Vec::new(), rows: Arc::new(Schema::empty()), relation: Vec::new() };
        Self { watched, rules: HashMap::new(), counted: HashMap::new() }
    }
}

/// What counts in one scan, and the places of its rules among all.
pub(super) struct CountingWatch {
    pub columns: Vec<String>,
    pub watch: Arc<FileWatch>,
    pub indices: Vec<usize>,
}

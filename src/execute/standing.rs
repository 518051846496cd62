//! Rows were asked by the expectations that their statement, or its transaction, knew of: whether others bind by the time of the
//! commit. A constraint is in the table's log, where a commit meets it; expectations are in the catalog.
//!
//! ```text
//! a statement       as this process knows, in the queue of the table's commits; what runs long asks the store before
//! a transaction     the newest version of the catalog; with several tables the very one that decides
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::ground::Ground;
use super::road::Road;
use super::row_rules::rules_of;
use crate::catalog::{Catalog, Document, RelationKind, Snapshot};
use crate::error::{Error, Result, SqlState};
use crate::lake::{self, Lake, Standing};
use crate::quality::{Expectation, ViolationAction};
use crate::session::Pins;

/// What a statement knows of the catalog is taken for new so long.
const AGE_MAX: Duration = Duration::from_secs(1);
const DETAIL: &str = "Another transaction has changed what is expected of the table's rows";

/// Whether it is an error of this module.
pub(crate) fn is_about(error: &Error) -> bool {
    error.sqlstate() == SqlState::SerializationFailure
        && error.detail().is_some_and(|detail| detail.starts_with(DETAIL))
}

/// The catalogs whose rules were asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    of_rows: Snapshot,
    on_commit: Snapshot,
}

impl Asked {
    /// By a transaction; `None` where it has read nothing.
    pub(super) fn by(pins: &Pins) -> Option<Self> {
        let of_rows = pins.catalog.clone()?;
        let on_commit = pins.asked.clone().unwrap_or_else(|| Arc::clone(&of_rows));
        Some(Self { of_rows, on_commit })
    }

    /// The same for one commit to the log of the table at that place.
    pub(super) fn standing(&self, ground: &Ground, place: &str) -> Arc<dyn Standing> {
        Arc::new(Rules {
            catalog: Arc::clone(&ground.catalog),
            lake: Arc::clone(&ground.lake),
            asked: self.clone(),
            place: place.to_owned(),
            since: Instant::now(),
        })
    }

    /// Refuses to commit rows of the tables at these places where rules bind that they were not asked by.
    ///
    /// # Errors
    /// 40001.
    pub(super) fn check(&self, now: &Document, lake: &Lake, places: &[impl AsRef<str>]) -> Result<()> {
        for (name, relation) in now.schemas.values().flat_map(|schema| &schema.relations) {
            let RelationKind::Table(table) = &relation.kind else { continue };
            if !table.expectations.iter().any(binds) {
                continue;
            }
            let place = lake.place(&table.location)?;
            if !places.iter().any(|written| written.as_ref() == place) {
                continue;
            }
            let was_asked = |rule: &Expectation| {
                let asked = if rule.rule.is_of_rows() { &self.of_rows } else { &self.on_commit };
                match asked.relation_by_oid(relation.oid) {
                    Some((_, _, relation)) => rules_of(relation).iter().any(|known| is_same(known, rule)),
                    None => false,
                }
            };
            if let Some(rule) = table.expectations.iter().find(|rule| binds(rule) && !was_asked(rule)) {
                let message = "could not serialize access due to concurrent update";
                return Err(Error::new(SqlState::SerializationFailure, message)
                    .with_detail(format!("{DETAIL}: expectation \"{}\" of relation \"{name}\".", rule.name))
                    .with_hint("Try the transaction again."));
            }
        }
        Ok(())
    }
}

/// Whether there are rows, or commits, that the rule does not let through.
fn binds(rule: &Expectation) -> bool {
    let is_asked = rule.rule.is_of_rows() || rule.on_commit;
    rule.enabled && rule.action != ViolationAction::Warn && is_asked
}

/// Whether the rule was there already, whatever it was called.
fn is_same(known: &Expectation, rule: &Expectation) -> bool {
    let options = (known.options.mostly, known.options.ignore_nulls);
    known.enabled
        && (known.oid, known.action, known.on_commit) == (rule.oid, rule.action, rule.on_commit)
        && (&known.rule, &known.filter) == (&rule.rule, &rule.filter)
        && options == (rule.options.mostly, rule.options.ignore_nulls)
}

/// Of one commit.
#[derive(Debug)]
struct Rules {
    catalog: Arc<Catalog>,
    lake: Arc<Lake>,
    asked: Asked,
    place: String,
    since: Instant,
}

pub(super) fn of_statement(road: &Road<'_>, table: &lake::Table) -> Arc<dyn Standing> {
    let asked = Asked { of_rows: Arc::clone(&road.snapshot), on_commit: Arc::clone(&road.snapshot) };
    asked.standing(road.ground, table.location())
}

#[async_trait]
impl Standing for Rules {
    fn check(&self) -> Result<()> {
        let now = self.catalog.snapshot();
        if Arc::ptr_eq(&now, &self.asked.of_rows) && Arc::ptr_eq(&now, &self.asked.on_commit) {
            return Ok(());
        }
        self.asked.check(&now, &self.lake, &[&self.place])
    }

    async fn check_newest(&self) -> Result<()> {
        if self.since.elapsed() > AGE_MAX {
            self.catalog.fresh(Duration::ZERO).await?;
        }
        self.check()
    }
}

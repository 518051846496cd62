//! Rules that witnesses of the one scan answer: those about each row by the watch that writing has too, keys and references
//! by their hashes and bits. What they leave open is asked by a query of its own.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt as _;
use futures::future::try_join_all;

use super::check::{Checker, One, Rows};
use super::counting::{CountingWatch, Watched, is_of_rows};
use super::outcome::counted;
use crate::error::Result;
use crate::plan::expectation::{self, Asked, Counts, ScanItems, Witnessed};
use crate::plan::relations::{Relation, RelationColumn};
use crate::plan::typing::has_sort_key;
use crate::quality::keys::{KeyCollection, KeySet, References, UniqueKeys, are_comparable, is_hashable};
use crate::quality::result::RuleResult;
use crate::quality::witness::{ReadingWatch, Witness};
use crate::quality::{Expectation, ExpectationRule, Watch, is_of_value};
use crate::sql;

/// The keys of one rule take no more than this part of the memory pool.
const POOL_SHARES: usize = 4;

/// The witnesses of one scan.
#[derive(Default)]
pub(super) struct Sights {
    shown: Vec<Shown>,
    watch: Option<Arc<Watch>>,
    pub counting: Option<CountingWatch>,
    /// For each rule of the scan; `None`: an item of the SELECT, or nothing, answers it.
    sights: Vec<Option<Sight>>,
}

/// What a witness is shown: columns, of the rows that an item of the SELECT counts.
struct Shown {
    columns: Vec<String>,
    filter: Option<usize>,
    witness: Arc<dyn Witness>,
}

#[derive(Clone)]
enum Sight {
    /// The rule at that place of the watch.
    Row(usize),
    /// The rule is counted file by file: its result comes of all that is known of the files.
    Counted,
    Unique(Arc<UniqueKeys>),
    /// A part of the key is asked for. The item counts the rows that have all of it.
    UniquePart {
        keys: Arc<UniqueKeys>,
        checked: usize,
    },
    References(Arc<References>),
}

/// The table's column and how it comes out of the scan.
fn column<'a>(relation: &'a Relation, fields: &'a Schema, name: &str) -> Option<(&'a RelationColumn, &'a FieldRef)> {
    let found = relation.columns().iter().zip(fields.fields()).find(|(column, _)| column.name == name);
    found.filter(|(column, field)| column.name == *field.name())
}

impl Checker<'_, '_, '_> {
    /// Whether a rule that has a query of its own may be answered by a witness.
    pub(super) async fn may_see(&mut self, rule: &Expectation) -> Result<bool> {
        match &rule.rule {
            ExpectationRule::Unique { columns } => Ok(columns.iter().all(|name| self.is_hashable(name))),
            ExpectationRule::ForeignKey { columns, referenced, .. } => match (&**columns, &**referenced) {
                ([own], [referenced]) => match self.keys(rule, own, referenced).await {
                    Ok(Some(keys)) => {
                        self.keys.insert(rule.name.clone(), Arc::new(keys));
                        Ok(true)
                    }
                    Ok(None) => Ok(false),
                    Err(error) if is_of_value(&error) => Ok(false),
                    Err(error) => Err(error),
                },
                _ => Ok(false),
            },
            _ => Ok(false),
        }
    }

    fn is_hashable(&self, name: &str) -> bool {
        let found = column(&self.checked.relation, &self.fields, name);
        found.is_some_and(|(column, field)| !has_sort_key(column.ty) && is_hashable(field.data_type()))
    }

    /// The keys that a rule refers to; `None` where they are no integers, too many, or cannot be read.
    async fn keys(&mut self, rule: &Expectation, own: &str, referenced: &str) -> Result<Option<KeySet>> {
        let Some((schema, table)) = self.other(rule) else { return Ok(None) };
        let Some((_, field)) = column(&self.checked.relation, &self.fields, own) else { return Ok(None) };
        let ty = field.data_type().clone();
        let (column, table) = (expectation::quoted(referenced), expectation::relation_text(&schema, &table));
        let query = sql::parse_query(&format!("SELECT {column} FROM {table}"))?;
        let reads = self.reads(rule);
        // The rule's own query says what is wrong.
        let rows = self.rows();
        let Ok(bound) = self.bound(&query, reads, &rows).await else { return Ok(None) };
        let is_comparable =
            bound.plan.schema().fields().first().is_some_and(|key| are_comparable(key.data_type(), &ty));
        if !is_comparable {
            return Ok(None);
        }
        let mut keys = KeyCollection::new(self.road.ground.engine.memory_pool());
        let mut stream = self.road.start(bound.plan).await?;
        while let Some(batch) = stream.next().await.transpose()? {
            let Some(column) = batch.columns().first() else { return Ok(None) };
            if !are_comparable(column.data_type(), &ty) || !keys.add(column)? {
                return Ok(None);
            }
        }
        self.road.ground.engine.compute(async move { Ok(Some(keys.finish())) }).await
    }

    /// Witnesses for all rules that can have one.
    pub(super) fn sights(&self, ones: &[One<'_>], rows: &Rows, items: &mut ScanItems) -> Result<Sights> {
        let mut sights = Sights { sights: vec![None; ones.len()], ..Sights::default() };
        self.count_rows(ones, rows, &mut sights);
        self.watch_rows(ones, &mut sights);
        self.see_keys(ones, items, &mut sights)?;
        Ok(sights)
    }

    fn count_rows(&self, ones: &[One<'_>], rows: &Rows, sights: &mut Sights) {
        let Some(counting) = self.counting.watch(rows, ones) else { return };
        for (one, sight) in ones.iter().zip(&mut sights.sights) {
            if self.counting.is_counted(one.index) {
                *sight = Some(Sight::Counted);
            }
        }
        let (columns, witness) = (counting.columns.clone(), Arc::clone(&counting.watch) as Arc<dyn Witness>);
        sights.shown.push(Shown { columns, filter: None, witness });
        sights.counting = Some(counting);
    }

    fn watch_rows(&self, ones: &[One<'_>], sights: &mut Sights) {
        let open = ones.iter().zip(&mut sights.sights).filter(|(one, sight)| is_of_rows(one) && sight.is_none());
        let mut open: Vec<_> = open.collect();
        let watched = Watched::new(self, open.iter().map(|(one, _)| *one));
        let mut rules = Vec::new();
        for (one, sight) in &mut open {
            // A rule that is not compiled is an item of the SELECT, which says why.
            if let Some(rule) = watched.compiled(self, one) {
                **sight = Some(Sight::Row(rules.len()));
                rules.push(rule);
            }
        }
        if rules.is_empty() {
            return;
        }
        let Watched { columns, rows, .. } = watched;
        let watch = Arc::new(Watch::new(rules, Arc::clone(&rows)));
        sights.watch = Some(Arc::clone(&watch));
        sights.shown.push(Shown { columns, filter: None, witness: Arc::new(ReadingWatch { watch, rows }) });
    }

    fn see_keys(&self, ones: &[One<'_>], items: &mut ScanItems, sights: &mut Sights) -> Result<()> {
        // Short keys first: a longer one may be made of one.
        let mut order: Vec<(usize, &One<'_>)> = ones.iter().enumerate().collect();
        order.sort_by_key(|(_, one)| one.rule.rule.own_columns().len());
        let mut seen: Vec<(&Expectation, Arc<UniqueKeys>)> = Vec::new();
        for (at, one) in order {
            if !matches!(one.asked, Asked::Query(_)) {
                continue;
            }
            let columns = one.rule.rule.own_columns();
            let mut counted = || items.known(columns, one.rule.filter.as_deref());
            let (witness, sight): (Arc<dyn Witness>, Sight) = match &one.rule.rule {
                ExpectationRule::Unique { .. } => {
                    let part = seen.iter().find(|(part, _)| is_part(part, one.rule));
                    if let Some((_, keys)) = part {
                        let sight = Sight::UniquePart { keys: Arc::clone(keys), checked: counted()? };
                        put(&mut sights.sights, at, sight);
                        continue;
                    }
                    let engine = &self.road.ground.engine;
                    let bytes_max = engine.memory().1 / POOL_SHARES;
                    let keys = Arc::new(UniqueKeys::new(engine.memory_pool(), bytes_max));
                    seen.push((one.rule, Arc::clone(&keys)));
                    (Arc::clone(&keys) as Arc<dyn Witness>, Sight::Unique(keys))
                }
                _ => {
                    let Some(keys) = self.keys.get(&one.rule.name) else { continue };
                    let references = Arc::new(References::to(Arc::clone(keys)));
                    (Arc::clone(&references) as Arc<dyn Witness>, Sight::References(references))
                }
            };
            let filter = one.rule.filter.is_some().then(&mut counted).transpose()?;
            sights.shown.push(Shown { columns: columns.to_vec(), filter, witness });
            put(&mut sights.sights, at, sight);
        }
        Ok(())
    }
}

fn put(sights: &mut [Option<Sight>], at: usize, sight: Sight) {
    if let Some(place) = sights.get_mut(at) {
        *place = Some(sight);
    }
}

/// Whether rows that differ in the one key differ in the other.
fn is_part(part: &Expectation, whole: &Expectation) -> bool {
    let has = |name| whole.rule.own_columns().contains(name);
    (part.filter.is_none() || part.filter == whole.filter) && part.rule.own_columns().iter().all(has)
}

impl Sights {
    /// Whether a witness answers the rule at that place of the scan.
    pub(super) fn has(&self, at: usize) -> bool {
        self.sights.get(at).is_some_and(Option::is_some)
    }

    /// The plan with the witnesses in it.
    pub(super) fn added_to(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if self.shown.is_empty() {
            return Ok(plan);
        }
        let mut witnessed = Witnessed::new(plan)?;
        for shown in &self.shown {
            witnessed.add(&shown.columns, shown.filter, Arc::clone(&shown.witness))?;
        }
        witnessed.plan()
    }

    /// What became of the rules, all rows having been seen: in the order of the scan, `None` for what is still to be asked.
    /// `count` tells an item's value.
    pub(super) async fn results(
        &self,
        checker: &Checker<'_, '_, '_>,
        ones: &[One<'_>],
        count: impl Fn(usize) -> Result<u64>,
    ) -> Result<Vec<Option<RuleResult>>> {
        let of_rows = self.watch.as_ref().map(|watch| watch.results()).unwrap_or_default();
        let mut proved: Vec<(&Arc<UniqueKeys>, bool)> = Vec::new();
        for sight in self.sights.iter().flatten() {
            if let Sight::Unique(keys) = sight {
                proved.push((keys, checker.differ(keys).await?));
            }
        }
        let is_proved =
            |keys: &Arc<UniqueKeys>| proved.iter().any(|(known, differ)| *differ && Arc::ptr_eq(known, keys));
        let mut results = Vec::with_capacity(ones.len());
        for (one, sight) in ones.iter().zip(&self.sights) {
            results.push(match sight {
                None | Some(Sight::Counted) => None,
                Some(Sight::Row(at)) => {
                    of_rows.get(*at).map(|result| RuleResult { action: one.rule.action, ms: None, ..result.clone() })
                }
                Some(Sight::Unique(keys)) => {
                    is_proved(keys).then(|| counted(one.rule, Counts { checked: keys.rows(), failed: 0 }))
                }
                Some(Sight::UniquePart { keys, checked }) => match is_proved(keys) {
                    true => Some(counted(one.rule, Counts { checked: count(*checked)?, failed: 0 })),
                    false => None,
                },
                Some(Sight::References(references)) => {
                    let counts = Counts { checked: references.rows(), failed: references.missing() };
                    Some(counted(one.rule, counts))
                }
            });
        }
        Ok(results)
    }
}

impl Checker<'_, '_, '_> {
    /// Whether the keys are proved to differ.
    async fn differ(&self, keys: &UniqueKeys) -> Result<bool> {
        let Some(seen) = keys.seen() else { return Ok(false) };
        let (seen, engine) = (Arc::new(seen), &self.road.ground.engine);
        let shares = engine.default_partitions().max(1);
        let shares = (0..shares).map(|share| {
            let seen = Arc::clone(&seen);
            engine.compute(async move { Ok(seen.differ(share, shares)) })
        });
        Ok(try_join_all(shares).await?.into_iter().all(|differ| differ))
    }
}

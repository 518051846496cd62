//! What depends on what is dropped, and goes with it: found first, told, then removed.

use std::collections::HashSet;

use super::drop::Dropped;
use crate::catalog::{Document, Relation, RelationKind};
use crate::error::{Error, Result, Severity, SqlState};

/// Dependents that a message names.
const TOLD_MAX: usize = 100;

/// Something that can be dropped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Object {
    Schema(String),
    Relation {
        schema: String,
        name: String,
    },
    Model {
        schema: String,
        name: String,
    },
    /// A rule of a table that reads another relation.
    Expectation {
        schema: String,
        table: String,
        name: String,
    },
}

impl Object {
    pub(super) fn relation(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self::Relation { schema: schema.into(), name: name.into() }
    }

    /// `view v`, with the schema where the name alone would not find it.
    pub(super) fn described(&self, document: &Document, path: &[String]) -> String {
        let (schema, name) = match self {
            Self::Schema(name) => return format!("schema {name}"),
            Self::Relation { schema, name } => (schema, name),
            Self::Model { schema, name } => {
                let seen = path.iter().find(|schema| document.model(schema, name).is_some());
                return if seen == Some(schema) { format!("model {name}") } else { format!("model {schema}.{name}") };
            }
            Self::Expectation { schema, table, name } => {
                return format!("expectation {name} on {}", Self::relation(schema, table).described(document, path));
            }
        };
        let noun = document.relation(schema, name).map_or("view", |relation| relation.kind.noun());
        let seen = path.iter().find(|schema| document.relation(schema, name).is_some());
        if seen == Some(schema) { format!("{noun} {name}") } else { format!("{noun} {schema}.{name}") }
    }

    /// In the order in which they were made.
    fn dependents(&self, document: &Document) -> Vec<Self> {
        let mut found: Vec<(u32, Self)> = Vec::new();
        let oid = match self {
            Self::Relation { schema, name } => document.relation(schema, name).map(|relation| relation.oid),
            Self::Model { schema, name } => document.model(schema, name).map(|model| model.oid),
            Self::Schema(_) | Self::Expectation { .. } => None,
        };
        for (schema, definition) in &document.schemas {
            let is_whole = matches!(self, Self::Schema(dropped) if dropped == schema);
            for (name, model) in definition.models.iter().filter(|_| is_whole) {
                found.push((model.oid, Self::Model { schema: schema.clone(), name: name.clone() }));
            }
            for (name, relation) in &definition.relations {
                let reads = relation
                    .kind
                    .query()
                    .is_some_and(|view| oid.is_some_and(|oid| relation.oid != oid && view.depends_on.contains(&oid)));
                if is_whole || reads {
                    found.push((relation.oid, Self::relation(schema, name)));
                }
                let RelationKind::Table(table) = &relation.kind else { continue };
                let rules = table.expectations.iter();
                let rules =
                    rules.filter(|rule| oid.is_some_and(|oid| relation.oid != oid && rule.depends_on.contains(&oid)));
                found.extend(rules.map(|rule| {
                    let (schema, table, name) = (schema.clone(), name.clone(), rule.name.clone());
                    (rule.oid, Self::Expectation { schema, table, name })
                }));
            }
        }
        found.sort_by_key(|(oid, _)| *oid);
        found.into_iter().map(|(_, object)| object).collect()
    }
}

/// Everything that goes, and of what was not asked for why.
struct Walk<'a> {
    document: &'a Document,
    path: &'a [String],
    asked: &'a [Object],
    seen: HashSet<Object>,
    order: Vec<Object>,
    /// What it is, and what it depends on.
    others: Vec<(String, String)>,
}

impl<'a> Walk<'a> {
    fn of(document: &'a Document, path: &'a [String], asked: &'a [Object]) -> Self {
        let (seen, order, others) = (HashSet::new(), Vec::new(), Vec::new());
        let mut walk = Self { document, path, asked, seen, order, others };
        for object in asked {
            walk.visit(object, "");
        }
        walk
    }

    fn visit(&mut self, object: &Object, on: &str) {
        if !self.seen.insert(object.clone()) {
            return;
        }
        let described = object.described(self.document, self.path);
        if !self.asked.contains(object) {
            self.others.push((described.clone(), on.to_owned()));
        }
        self.order.push(object.clone());
        for dependent in object.dependents(self.document) {
            self.visit(&dependent, &described);
        }
    }
}

/// Removes the objects together, and with CASCADE what depends on them.
pub(super) fn remove(
    document: &mut Document,
    path: &[String],
    asked: &[Object],
    cascade: bool,
    dropped: &mut Dropped,
) -> Result<()> {
    let Walk { order, others, .. } = Walk::of(document, path, asked);
    if !others.is_empty() && !cascade {
        let what = match asked {
            [one] => one.described(document, path),
            _ => "desired object(s)".to_owned(),
        };
        let them = if asked.len() == 1 { "it" } else { "them" };
        let lines = others.iter().map(|(object, on)| format!("{object} depends on {on}"));
        return Err(Error::new(
            SqlState::DependentObjectsStillExist,
            format!("cannot drop {what} because other objects depend on {them}"),
        )
        .with_detail(shortened(lines))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    let lines = others.iter().map(|(object, _)| format!("drop cascades to {object}"));
    let notice = |message: String| Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message);
    match others.len() {
        0 => {}
        1 => dropped.notices.extend(lines.map(notice)),
        count => {
            let message = format!("drop cascades to {count} other objects");
            dropped.notices.push(notice(message).with_detail(shortened(lines)));
        }
    }
    for object in order.iter().rev() {
        take(document, object, dropped);
    }
    Ok(())
}

fn take(document: &mut Document, object: &Object, dropped: &mut Dropped) {
    let (schema, name) = match object {
        Object::Schema(name) => {
            document.schemas.remove(name);
            return;
        }
        Object::Expectation { schema, table, name } => {
            let relation = document.schemas.get_mut(schema).and_then(|schema| schema.relations.get_mut(table));
            if let Some(Relation { kind: RelationKind::Table(table), .. }) = relation {
                table.expectations.retain(|rule| rule.name != *name);
            }
            return;
        }
        Object::Model { schema, name } => {
            // The artifacts go when the server looks for those that nobody names.
            if let Some(definition) = document.schemas.get_mut(schema) {
                definition.models.remove(name);
            }
            return;
        }
        Object::Relation { schema, name } => (schema, name),
    };
    if let Some(definition) = document.schemas.get_mut(schema)
        && let Some(Relation { kind: RelationKind::Table(table), .. }) = definition.relations.remove(name)
        && table.managed
    {
        dropped.locations.push(table.location);
    }
}

fn shortened(lines: impl ExactSizeIterator<Item = String>) -> String {
    let more = lines.len().saturating_sub(TOLD_MAX);
    let mut told: Vec<String> = lines.take(TOLD_MAX).collect();
    if more > 0 {
        told.push(format!("and {more} other objects"));
    }
    told.join("\n")
}

/// A line for each view that depends on what `on` names, and below it those that depend on the view.
pub(super) fn told(document: &Document, path: &[String], on: &str, views: &[Object]) -> Vec<String> {
    let mut walk = Walk { document, path, asked: &[], seen: HashSet::new(), order: Vec::new(), others: Vec::new() };
    for view in views {
        walk.visit(view, on);
    }
    walk.others.iter().map(|(object, on)| format!("{object} depends on {on}")).collect()
}

/// Drops views that a change takes with it, and theirs.
pub(super) fn remove_views(document: &mut Document, path: &[String], views: &[Object], dropped: &mut Dropped) {
    let mut walk = Walk { document, path, asked: &[], seen: HashSet::new(), order: Vec::new(), others: Vec::new() };
    for view in views {
        walk.visit(view, "");
    }
    let Walk { order, others, .. } = walk;
    let told = others.into_iter().map(|(object, _)| format!("drop cascades to {object}"));
    let notice = |message: String| Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message);
    dropped.notices.extend(told.map(notice));
    order.iter().rev().for_each(|object| take(document, object, dropped));
}

/// Schema and name of the views that read the relation.
pub(super) fn dependents_of(document: &Document, oid: u32) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (schema, definition) in &document.schemas {
        for (name, relation) in &definition.relations {
            if let Some(view) = relation.kind.query()
                && view.depends_on.contains(&oid)
                && relation.oid != oid
            {
                found.push((schema.clone(), name.clone()));
            }
        }
    }
    found
}

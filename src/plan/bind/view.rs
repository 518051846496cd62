//! Views: the stored query is bound where the view is named, against its own relations.

use std::cell::RefCell;
use std::rc::Rc;

use sqlparser::ast;

use super::from::From;
use super::scope::Environment;
use super::source::Source;
use super::{Binder, Unknowns};
use crate::error::{Error, Result, SqlState};
use crate::plan::relations::ResolvedView;
use crate::plan::typing::{self, Coercion};

impl Binder<'_> {
    pub(super) fn view(
        &self,
        view: &ResolvedView,
        alias: Option<&ast::TableAlias>,
        position: Option<u32>,
    ) -> Result<From> {
        // The view's text is not the client's: nothing in it has a position.
        let inner = Binder {
            typing: self.typing,
            relations: &view.relations,
            source: Source::new(&view.text),
            text: "".into(),
            next: Rc::clone(&self.next),
            depth: Rc::clone(&self.depth),
            subqueries: Rc::clone(&self.subqueries),
            terms: Rc::clone(&self.terms),
            copied: Rc::clone(&self.copied),
            values: self.values.clone(),
            uses: RefCell::default(),
            grouping_arguments: RefCell::default(),
            merge_action: RefCell::default(),
        };
        let bound = self.deeper(|| inner.query(&view.query, &Environment::default(), Unknowns::Text));
        let mut bound = if view.text.is_empty() { bound? } else { bound.map_err(Error::without_position)? };
        if bound.columns.len() < view.columns.len() {
            let message = format!("view \"{}\" no longer fits the relations under it", view.name);
            return Err(Error::new(SqlState::InvalidTableDefinition, message).at(position));
        }
        // `SELECT *` was fixed when the view was made: columns that came later are not its own.
        let promised = view.columns.len();
        let mut exprs = Vec::new();
        for (index, column) in view.columns.iter().enumerate() {
            let Some(value) = bound.operand(index) else { continue };
            let value = if value.ty == column.ty {
                value
            } else {
                typing::coerce(self.typing, value, column.ty, Coercion::Assignment)?
            };
            exprs.push(value.expr);
        }
        let names = super::names::unique(view.columns.iter().map(|column| column.name.as_str()));
        let exprs = exprs.into_iter().zip(names).map(|(expr, name)| expr.alias(name));
        bound.plan = datafusion::logical_expr::LogicalPlanBuilder::from(bound.plan).project(exprs)?.build()?;
        bound.columns.truncate(promised);
        for (index, (column, promise)) in bound.columns.iter_mut().zip(&view.columns).enumerate() {
            column.name.clone_from(&promise.name);
            column.ty = promise.ty;
            column.unsettled = None;
            column.origin = super::scope::Origin { table: view.oid, attribute: index as i16 + 1 };
        }
        let from = self.subquery_item(bound, &view.name, false)?;
        let mut items = Vec::new();
        for mut item in from.items {
            item.schema = Some(view.schema.clone());
            item.position = position;
            items.push(self.aliased(item, alias)?);
        }
        Ok(From { plan: from.plan, items })
    }
}

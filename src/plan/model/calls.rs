//! Calls of models in a query, as they are written.

use std::ops::ControlFlow;

use sqlparser::ast::{self, Visit as _, Visitor};

use super::{PREDICTIONS, SCHEMA, first_argument, written};
use crate::sql::{self, fold};

/// A call of a function over a model.
#[derive(Debug, Clone)]
pub struct ModelCall {
    /// The model's name as it was written, without a version.
    pub model: String,
    pub version: Option<u32>,
    /// Whether features are given in the order of training.
    pub ordered: bool,
}

/// All calls of models in a query.
pub fn calls(query: &ast::Query) -> Vec<ModelCall> {
    let mut found = Found(Vec::new());
    let _ = query.visit(&mut found);
    found.0
}

struct Found(Vec<ModelCall>);

impl Found {
    fn add(&mut self, text: &str, ordered: bool) {
        let version = super::parse_model(text).ok().and_then(|(_, version)| version);
        let model = match version {
            Some(_) => text.rsplit_once('@').map_or(text, |(name, _)| name),
            None => text,
        };
        self.0.push(ModelCall { model: model.to_owned(), version, ordered });
    }

    fn function(&mut self, name: &ast::ObjectName, arguments: &[ast::FunctionArg]) {
        let [schema, _] = name.0.as_slice() else { return };
        if schema.as_ident().is_some_and(|schema| fold(schema) == SCHEMA) {
            for parts in arguments.iter().filter_map(sql::model_argument) {
                self.add(&written(parts), false);
            }
        }
    }
}

impl Visitor for Found {
    type Break = std::convert::Infallible;

    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            ast::TableFactor::Table { name, args: Some(arguments), .. } => self.function(name, &arguments.args),
            ast::TableFactor::Function { name, args, .. } => self.function(name, args),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<Self::Break> {
        if let ast::Expr::Function(call) = expr
            && let [ast::ObjectNamePart::Identifier(name)] = call.name.0.as_slice()
            && let ast::FunctionArguments::List(list) = &call.args
            && PREDICTIONS.contains(&fold(name).as_str())
            && let Some((text, _)) = first_argument(&list.args)
        {
            let in_order = |argument: &ast::FunctionArg| {
                matches!(argument, ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(_)))
            };
            self.add(text, list.args.iter().skip(1).any(in_order));
        }
        ControlFlow::Continue(())
    }
}

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
    pub features: Given,
}

/// How a call gives the features.
#[derive(Debug, Clone)]
pub enum Given {
    /// `ML.PREDICT(MODEL m, …)` and its kin: columns of rows, by name.
    Rows,
    /// `predict('m', …)`: some by name, or in the order of training; those of `t.*` are taken as they are needed.
    Arguments { named: Vec<String>, ordered: bool },
}

/// All calls of models in a query.
pub fn calls(query: &ast::Query) -> Vec<ModelCall> {
    let mut found = Found(Vec::new());
    let _ = query.visit(&mut found);
    found.0
}

struct Found(Vec<ModelCall>);

impl Found {
    fn add(&mut self, text: &str, features: Given) {
        let version = super::parse_model(text).ok().and_then(|(_, version)| version);
        let model = match version {
            Some(_) => text.rsplit_once('@').map_or(text, |(name, _)| name),
            None => text,
        };
        self.0.push(ModelCall { model: model.to_owned(), version, features });
    }

    fn function(&mut self, name: &ast::ObjectName, arguments: &[ast::FunctionArg]) {
        let [schema, _] = name.0.as_slice() else { return };
        if schema.as_ident().is_some_and(|schema| fold(schema) == SCHEMA) {
            for parts in arguments.iter().filter_map(sql::model_argument) {
                self.add(&written(parts), Given::Rows);
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
            let (mut named, mut ordered) = (Vec::new(), false);
            for argument in list.args.iter().skip(1) {
                match argument {
                    ast::FunctionArg::Named { name, .. } => named.push(fold(name)),
                    ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(_)) => ordered = true,
                    _ => {}
                }
            }
            self.add(text, Given::Arguments { named, ordered });
        }
        ControlFlow::Continue(())
    }
}

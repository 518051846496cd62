//! Models that a statement names, found before it is bound.

use std::sync::Arc;

use sqlparser::ast;

use super::super::resolve::Resolver;
use crate::catalog::{self, ModelRead};
use crate::error::{Error, Result, SqlState};
use crate::models::Model;
use crate::sql::{self, QualifiedName};

/// Scalar functions that predict: their first argument is a model's name.
pub const PREDICTIONS: &[&str] = &["predict", "predict_proba", "predict_probs"];

/// The schema of the table functions over models.
pub const SCHEMA: &str = "ml";

/// A model as a statement uses it: one version.
#[derive(Debug, Clone)]
pub struct UsedModel {
    pub model: Arc<Model>,
    pub name: String,
    pub oid: u32,
    pub version: u32,
    /// The name as it was written, without a version.
    pub written: String,
}

/// `schema.name@version`, as predictions name models.
///
/// # Errors
/// 42601 for what is no name.
pub fn parse_model(text: &str) -> Result<(QualifiedName, Option<u32>)> {
    let (name, version) = match text.rsplit_once('@') {
        Some((name, digits)) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let version = digits.parse().map_err(|_| {
                Error::new(SqlState::UndefinedObject, format!("model \"{name}\" has no version {digits}"))
            })?;
            (name, Some(version))
        }
        _ => (text, None),
    };
    let name = sql::parse_name(name).map_err(|_| {
        Error::new(SqlState::InvalidName, format!("invalid name of a model: \"{text}\""))
            .with_hint("Write a name such as 'm', 'schema.m', or with a version 'm@3'.")
    })?;
    Ok((name, version))
}

/// The text by which a model that is written `MODEL a.b` is found.
pub fn written(parts: &[ast::Ident]) -> String {
    let parts: Vec<String> = parts.iter().map(|part| super::super::expectation::quoted(&sql::fold(part))).collect();
    parts.join(".")
}

/// The model that a call's first argument names, if that is a constant.
pub fn first_argument(arguments: &[ast::FunctionArg]) -> Option<(&str, &ast::Expr)> {
    let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) = arguments.first()? else { return None };
    match expr {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => Some((text, expr)),
            _ => None,
        },
        _ => None,
    }
}

impl Resolver<'_> {
    /// The model of that name, read and checked; `None` where there is none.
    pub(in crate::plan) async fn used_model(
        &mut self,
        text: &str,
        path: &[String],
        reads: &[ModelRead],
    ) -> Result<Option<UsedModel>> {
        let (name, version) = parse_model(text)?;
        let written = match version {
            Some(_) => text.rsplit_once('@').map_or(text, |(name, _)| name),
            None => text,
        };
        let snapshot = Arc::clone(self.snapshot);
        let read = reads.iter().find(|read| read.name == written);
        let read = read.and_then(|read| snapshot.model_by_oid(read.oid));
        let found = match (read, &name.schema) {
            (Some((_, name, model)), _) => Some((name, model)),
            (None, Some(schema)) => snapshot.model(schema, &name.name).map(|model| (name.name.as_str(), model)),
            (None, None) => {
                let found = path.iter().find_map(|schema| snapshot.model(schema, &name.name));
                found.map(|model| (name.name.as_str(), model))
            }
        };
        let Some((name, model)) = found else { return Ok(None) };
        let used = self.version_of(name, model, version).await?;
        Ok(Some(UsedModel { written: written.to_owned(), ..used }))
    }

    async fn version_of(&self, name: &str, model: &catalog::Model, version: Option<u32>) -> Result<UsedModel> {
        if !self.superuser && !model.may_be_used_by(self.role_oid) {
            let message = format!("permission denied for model {name}");
            return Err(Error::new(SqlState::InsufficientPrivilege, message));
        }
        let number = version.unwrap_or(model.default_version);
        let Some(entry) = model.versions.get(&number) else {
            let versions: Vec<String> = model.versions.keys().map(ToString::to_string).collect();
            return Err(Error::new(SqlState::UndefinedObject, format!("model \"{name}\" has no version {number}"))
                .with_hint(format!("Its versions are {}.", versions.join(", "))));
        };
        let read = self.lake.model(&entry.artifact, &entry.checksum, entry.bytes).await;
        let read = read.map_err(|error| match error.sqlstate() {
            SqlState::DataCorrupted => error.with_hint(format!(
                "Version {number} of model \"{name}\" cannot be used; another can be made the default by ALTER MODEL ... SET DEFAULT VERSION."
            )),
            _ => error,
        })?;
        Ok(UsedModel { model: read, name: name.to_owned(), oid: model.oid, version: number, written: String::new() })
    }
}

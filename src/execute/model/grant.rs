//! GRANT and REVOKE of the right to use models.

use super::{missing, model_mut, owned};
use crate::catalog::EVERYBODY;
use crate::error::{Error, Result, SqlState};
use crate::execute::output::Output;
use crate::execute::road::Road;
use crate::sql::GrantModels;

pub(super) async fn run(road: &mut Road<'_>, statement: &GrantModels) -> Result<Output> {
    let mut roles = Vec::with_capacity(statement.roles.len());
    for role in &statement.roles {
        let Some(name) = role else {
            roles.push(EVERYBODY);
            continue;
        };
        let role = road.snapshot.roles.get(&name.value).ok_or_else(|| {
            let message = format!("role \"{}\" does not exist", name.value);
            Error::new(SqlState::UndefinedObject, message).at(name.position)
        })?;
        roles.push(role.oid);
    }
    let mut models = Vec::with_capacity(statement.models.len());
    for name in &statement.models {
        let (_, oid) = owned(road, name)?;
        models.push((oid, name.clone()));
    }
    let revokes = statement.revokes;
    road.define(move |document| {
        for (oid, written) in &models {
            let (schema, name) = model_mut(document, *oid).ok_or_else(|| missing(written))?;
            let definition = document.schemas.get_mut(&schema).and_then(|schema| schema.models.get_mut(&name));
            let model = definition.ok_or_else(|| missing(written))?;
            for role in &roles {
                if revokes {
                    model.users.remove(role);
                } else {
                    model.users.insert(*role);
                }
            }
        }
        Ok(())
    })
    .await?;
    Ok(Output::Done(if revokes { "REVOKE" } else { "GRANT" }.into()))
}

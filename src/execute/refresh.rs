//! REFRESH MATERIALIZED VIEW: its query is run again, and its rows take the place of the old ones in one commit. Readers go
//! on with the old ones until then.

use super::drop::require_owner;
use super::output::Output;
use super::road::Road;
use crate::catalog::RelationKind;
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::lake::{Input, WriteMode};
use crate::plan;
use crate::plan::recorded::relation_mut;
use crate::sql::Refresh;

pub(crate) async fn run(road: &mut Road<'_>, statement: &Refresh) -> Result<Output> {
    let (_, relation) = road.find(&statement.name).map_err(Error::without_position)?;
    let materialized = match &relation.kind {
        RelationKind::Table(table) => table.materialized.clone(),
        RelationKind::View(_) => None,
    };
    let Some(materialized) = materialized else {
        let message = format!("\"{}\" is not a materialized view", statement.name.name);
        // PostgreSQL's SQLSTATE for it.
        return Err(Error::new(SqlState::FeatureNotSupported, message));
    };
    let who = (road.session.superuser, road.role_oid());
    require_owner(who, relation.owner, relation.kind.noun(), &statement.name.name)?;
    let target = road.target(&statement.name, "refresh").await?;
    let bound = road.bind_materialized(&materialized.view).await?;
    let gate = road.gate(&target)?;
    let input = if statement.no_data {
        Input::Streams(Vec::new())
    } else {
        let wanted: Vec<(String, PgType)> =
            target.table.columns().iter().map(|column| (column.name.clone(), column.ty)).collect();
        if bound.columns.len() != wanted.len() {
            let message = format!("materialized view \"{}\" no longer fits the relations under it", target.name);
            return Err(Error::new(SqlState::InvalidTableDefinition, message));
        }
        let (plan, context) = road.physical(plan::cast_columns(bound, &wanted)?).await?;
        Input::Plan(plan, context)
    };
    road.write(WriteMode::Overwrite(target.table), input, gate, "REFRESH MATERIALIZED VIEW").await?;
    let (oid, populated) = (relation.oid, !statement.no_data);
    if materialized.populated != populated {
        road.define(move |document| {
            if let Some(relation) = relation_mut(document, oid)
                && let RelationKind::Table(table) = &mut relation.kind
                && let Some(materialized) = &mut table.materialized
            {
                materialized.populated = populated;
            }
            Ok(())
        })
        .await?;
    }
    Ok(Output::Done("REFRESH MATERIALIZED VIEW".into()))
}

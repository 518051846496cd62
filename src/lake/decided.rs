//! Conditions that Delta's log decides for all rows of a file, or for none.

use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Between, BinaryExpr, Expr};

use super::data_file::DataFile;
use super::scan::{LakeScan, cannot_fail, unqualified};
use super::statistics::is_float;

impl LakeScan {
    /// For each file whether all of its rows meet the condition, or none does, where the log says so.
    pub(super) fn decided(&self, state: &dyn Session, condition: &Expr) -> Result<Vec<Option<bool>>> {
        let condition = unqualified(condition.clone())?;
        let files = self.data_files();
        let excluded = |filter: Expr| -> Result<Vec<bool>> {
            let mut excluded = vec![true; files.len()];
            for number in self.prune(state, &[filter])?.0 {
                if let Some(excluded) = excluded.get_mut(number) {
                    *excluded = false;
                }
            }
            Ok(excluded)
        };
        let mut all = vec![true; files.len()];
        let mut none = vec![false; files.len()];
        for part in split_conjunction(&condition) {
            let columns: Vec<usize> = part
                .column_refs()
                .iter()
                .filter_map(|column| self.scanned.table_schema().index_of(&column.name).ok())
                .collect();
            let is_float = |index: &usize| is_float(self.scanned.table_schema().field(*index).data_type());
            // What may fail must be asked; NaN stands in no bound.
            if columns.is_empty() || columns.iter().any(is_float) || !cannot_fail(part) {
                return Ok(vec![None; files.len()]);
            }
            let has_nulls = |file: &DataFile| {
                let nulls = |index: &usize| file.statistics.column_statistics.get(*index).map(|one| one.null_count);
                columns.iter().any(|index| nulls(index) != Some(Precision::Exact(0)))
            };
            let broken = match negated(part) {
                // Of comparisons, which are known where their columns are.
                Negated::Known => vec![true; files.len()],
                Negated::As(negated) => excluded(negated)?,
                Negated::Unknown => vec![false; files.len()],
            };
            for (all, (file, excluded)) in all.iter_mut().zip(files.iter().zip(broken)) {
                *all &= excluded && !has_nulls(file);
            }
            for (none, excluded) in none.iter_mut().zip(excluded(part.clone())?) {
                *none |= excluded;
            }
        }
        let decided = all.iter().zip(none).zip(files.iter());
        Ok(decided
            .map(|((all, none), file)| match (all, none) {
                _ if file.vector.is_some() => None,
                (true, false) => Some(true),
                (false, true) => Some(false),
                (true, true) | (false, false) => None,
            })
            .collect())
    }
}

/// What is true where a condition over known values is false.
enum Negated {
    As(Expr),
    /// Nothing.
    Known,
    Unknown,
}

fn negated(condition: &Expr) -> Negated {
    match condition {
        Expr::BinaryExpr(binary) => match binary.op.negate() {
            Some(op) if binary.op.supports_propagation() => {
                Negated::As(Expr::BinaryExpr(BinaryExpr { op, ..binary.clone() }))
            }
            _ => Negated::Unknown,
        },
        Expr::Between(between) => Negated::As(Expr::Between(Between { negated: !between.negated, ..between.clone() })),
        Expr::InList(list) => Negated::As(Expr::InList(InList { negated: !list.negated, ..list.clone() })),
        Expr::IsNotNull(inner) if matches!(inner.as_ref(), Expr::Column(_)) => Negated::Known,
        Expr::IsNotNull(inner) => match (negated(inner), has_null(inner)) {
            (Negated::As(_) | Negated::Known, false) => Negated::Known,
            _ => Negated::Unknown,
        },
        _ => Negated::Unknown,
    }
}

fn has_null(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(matches!(expr, Expr::Literal(value, _) if value.is_null()))).unwrap_or(true)
}

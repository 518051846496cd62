//! A bound on what a statement repeats. The engine has no form that names the operand of BETWEEN, of a CASE with an operand or of
//! some comparisons once, so each mention is a copy; inside each other such copies grow with a power of their depth.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan};

use super::Binder;
use crate::encode::types::oid;
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::Typed;

/// Nodes of expressions and plans that all copies of one statement may have. The engine asks a nested expression for its type again
/// and again and optimizes it in many passes: so many take it seconds.
const COPIED_NODES_MAX: usize = 20_000;

impl Binder<'_> {
    /// To be asked before the expression is written `copies` times more than it stands in the text. 54001 when that is too much
    /// for one statement.
    pub(super) fn note_copies(&self, expr: &Expr, copies: usize, position: Option<u32>) -> Result<()> {
        // Long lists repeat a column as often as they have items.
        if is_leaf(expr) {
            return Ok(());
        }
        let room = self.room_for(copies);
        let mut size = Size { nodes: 0, nodes_max: room };
        size.add_expr(expr)?;
        self.note_nodes(size.nodes, copies, position)
    }

    /// The same for a plan that becomes more than one subquery.
    pub(super) fn note_plan_copies(&self, plan: &LogicalPlan, copies: usize, position: Option<u32>) -> Result<()> {
        let room = self.room_for(copies);
        let mut size = Size { nodes: 0, nodes_max: room };
        size.add_plan(plan)?;
        self.note_nodes(size.nodes, copies, position)
    }

    /// Nodes that something may have which is copied so often.
    fn room_for(&self, copies: usize) -> usize {
        COPIED_NODES_MAX.saturating_sub(self.copied.get()).checked_div(copies).unwrap_or(0)
    }

    fn note_nodes(&self, nodes: usize, copies: usize, position: Option<u32>) -> Result<()> {
        let copied = self.copied.get().saturating_add(nodes.saturating_mul(copies));
        if copied > COPIED_NODES_MAX {
            let message = format!("operands that are repeated grow beyond {COPIED_NODES_MAX} parts");
            let hint = "BETWEEN, IN, NULLIF, CASE with an operand, slices and comparisons of rows repeat their operands. \
                        Compute such an operand in a subquery in FROM.";
            return Err(Error::new(SqlState::StatementTooComplex, message).with_hint(hint).at(position));
        }
        self.copied.set(copied);
        Ok(())
    }
}

/// Counts nodes, and stops soon after there are too many. Chains of AND may be deeper than a stack is, so it goes down without
/// recursion but into subqueries.
struct Size {
    nodes: usize,
    nodes_max: usize,
}

impl Size {
    fn is_over(&self) -> bool {
        self.nodes > self.nodes_max
    }

    fn add_expr(&mut self, expr: &Expr) -> DfResult<()> {
        let mut waiting = vec![expr];
        while let Some(expr) = waiting.pop() {
            self.nodes += 1;
            if self.is_over() {
                return Ok(());
            }
            if let Some(plan) = subquery_in(expr) {
                crate::sql::stack::with_room(|| self.add_plan(plan))?;
            }
            expr.apply_children(|child| {
                waiting.push(child);
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(())
    }

    fn add_plan(&mut self, plan: &LogicalPlan) -> DfResult<()> {
        let mut waiting = vec![plan];
        while let Some(plan) = waiting.pop() {
            self.nodes += 1;
            plan.apply_expressions(|expr| {
                self.add_expr(expr)?;
                Ok(if self.is_over() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })?;
            if self.is_over() {
                return Ok(());
            }
            waiting.extend(plan.inputs());
        }
        Ok(())
    }
}

fn subquery_in(expr: &Expr) -> Option<&LogicalPlan> {
    match expr {
        Expr::ScalarSubquery(subquery)
        | Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. }) => Some(subquery.subquery.as_ref()),
        _ => None,
    }
}

/// Whether a copy of the expression costs nothing, and evaluates nothing a second time.
pub(super) fn is_leaf(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(_) | Expr::OuterReferenceColumn(..) | Expr::Literal(..) | Expr::Placeholder(_))
}

/// Whether `=` between the two is the engine's own equality of one Arrow type, which its forms with one mention of an operand use
/// too. Not so for floats (0 and -0), numerics (scales), char(n) (padding) and whatever is compared by a key.
pub(super) fn are_plainly_equal(left: &Typed, right: &Typed, schema: &DFSchema) -> bool {
    left.ty.oid == right.ty.oid && is_plain(left.ty.oid) && have_one_type(&left.expr, &right.expr, schema)
}

pub(super) fn is_plain(type_oid: u32) -> bool {
    matches!(
        type_oid,
        oid::BOOL
            | oid::INT2
            | oid::INT4
            | oid::INT8
            | oid::TEXT
            | oid::VARCHAR
            | oid::DATE
            | oid::TIMESTAMP
            | oid::TIMESTAMPTZ
    )
}

pub(super) fn have_one_type(left: &Expr, right: &Expr, schema: &DFSchema) -> bool {
    match (left.get_type(schema), right.get_type(schema)) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    }
}

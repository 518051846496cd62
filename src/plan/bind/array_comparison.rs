//! `x op ANY (array)` and `x op ALL (array)`: a comparison of a value with each element, by PostgreSQL's rules of NULL.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, BooleanBuilder, RecordBatch, UInt32Array};
use arrow::compute::kernels::{cmp, comparison, take};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Column, DFSchema, ScalarValue, exec_err};
use datafusion::error::Result as DfResult;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable as _, Like, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr::create_physical_expr;
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::Binder;
use super::expression::Context;
use super::expression::comparison::{among, have_one_decimal};
use crate::builtins::functions::arrays::flat_items;
use crate::builtins::functions::floats;
use crate::builtins::functions::kernel::{common_decimal, longer_decimal};
use crate::encode::types::{PgType, array_of, arrow_type, element_of, oid};
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{self, Coercion, Typed};

impl Binder<'_> {
    /// `operand op ANY (array)`, or ALL.
    pub(super) fn compare_with_array(
        &self,
        operand: &ast::Expr,
        op: &str,
        array: &ast::Expr,
        all: bool,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let position = self.source.operator_after(operand.span());
        let mut value = self.expr(operand, context)?;
        let start = value.position;
        let array = self.array_operand(&value, array, context, position)?;
        let Some(element) = element_of(array.ty.oid) else {
            let message = "op ANY/ALL (array) requires array on right side";
            return Err(Error::new(SqlState::WrongObjectType, message).at(position));
        };
        let element = PgType { oid: element, typmod: array.ty.typmod };
        // The operator is resolved against one element; a stand-in column shows what it makes of it.
        let stand_in = self.unique("element");
        let element_type = element_type(&array.expr, &context.scope.schema).unwrap_or_else(|| arrow_type(element));
        let mut fields = vec![Field::new(&stand_in, element_type, true)];
        // A constant has one too: beside a column it would be rounded to the column's digits, which are not those of the elements.
        let mut constant = None;
        if let Expr::Literal(literal, _) = &value.expr
            && keeps_its_meaning(value.ty, literal)
        {
            let name = self.unique("constant");
            fields.push(Field::new(&name, literal.data_type(), true));
            let column = Expr::Column(Column::from_name(&name));
            constant = Some((column.clone(), std::mem::replace(&mut value.expr, column)));
        }
        let stand_ins = DFSchema::try_from(Schema::new(fields))?;
        let schema = context.scope.schema.join(&stand_ins)?;
        let column = Expr::Column(Column::from_name(&stand_in));
        let probe = Typed { expr: column.clone(), ty: element, position };
        let compared = typing::binary(self.typing, op, value, probe, position, &schema)?;
        let is_element = |expr: &Expr| expr.column_refs().iter().any(|column| column.name == stand_in);
        let (left, comparison, right) = match parts_of(compared.expr) {
            Some((left, comparison, right)) if !is_element(&left) && is_element(&right) => (left, comparison, right),
            // A constant beside a column is on its right.
            Some((left, comparison, right)) if is_element(&left) && !is_element(&right) => {
                (right, comparison.mirrored(), left)
            }
            _ => return Err(Error::unsupported(format!("the operator {op} with ANY or ALL")).at(position)),
        };
        let conversion = if right == column { None } else { Some(replaced(right, &column, &element_column())?) };
        let left = match constant {
            Some((stand_in, constant)) => replaced(left, &stand_in, &constant)?,
            None => left,
        };
        let is_list = matches!((comparison, all), (Comparison::Eq, false) | (Comparison::NotEq, true));
        let list = if is_list { literal_elements(&array.expr, conversion.as_ref(), &schema) } else { None };
        let expr = match list {
            Some(list) if !list.is_empty() && can_be_listed(&left, &list, &schema) => among(left, list, all),
            _ => compare_function(comparison, all, conversion).call(vec![left, array.expr]),
        };
        Ok(Typed { expr, ty: PgType::BOOL, position: start })
    }

    /// The array: an unknown literal or parameter takes the type of the operand's arrays.
    fn array_operand(
        &self,
        value: &Typed,
        array: &ast::Expr,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Typed> {
        let array = self.expr(array, context)?;
        if array.ty.oid != PgType::UNKNOWN.oid {
            return Ok(array);
        }
        let element = if value.ty.oid == PgType::UNKNOWN.oid { PgType::TEXT.oid } else { value.ty.oid };
        match array_of(element) {
            Some(oid) => typing::coerce(self.typing, array, PgType::of(oid), Coercion::Implicit),
            None => Err(Error::unsupported("ANY or ALL with an array of this type").at(position)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Comparison {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
    Like,
    NotLike,
    ILike,
    NotILike,
}

impl Comparison {
    /// With the operands the other way round; patterns are never.
    fn mirrored(self) -> Self {
        match self {
            Self::Lt => Self::Gt,
            Self::LtEq => Self::GtEq,
            Self::Gt => Self::Lt,
            Self::GtEq => Self::LtEq,
            Self::Eq | Self::NotEq | Self::Like | Self::NotLike | Self::ILike | Self::NotILike => self,
        }
    }
}

/// Whether a column of its type compares as the constant does. Untyped constants take the type of what is beside them, padded ones its width, and
/// numerics without room are floats.
fn keeps_its_meaning(ty: PgType, constant: &ScalarValue) -> bool {
    let float = matches!(constant, ScalarValue::Float64(_));
    ty.oid != PgType::UNKNOWN.oid && ty.oid != oid::BPCHAR && !(float && ty.oid == oid::NUMERIC)
}

fn parts_of(expr: Expr) -> Option<(Expr, Comparison, Expr)> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let comparison = match op {
                Operator::Eq => Comparison::Eq,
                Operator::NotEq => Comparison::NotEq,
                Operator::Lt => Comparison::Lt,
                Operator::LtEq => Comparison::LtEq,
                Operator::Gt => Comparison::Gt,
                Operator::GtEq => Comparison::GtEq,
                Operator::LikeMatch => Comparison::Like,
                Operator::NotLikeMatch => Comparison::NotLike,
                Operator::ILikeMatch => Comparison::ILike,
                Operator::NotILikeMatch => Comparison::NotILike,
                _ => return None,
            };
            Some((*left, comparison, *right))
        }
        Expr::Like(Like { negated, expr, pattern, escape_char: None | Some('\\'), case_insensitive }) => {
            let comparison = match (negated, case_insensitive) {
                (false, false) => Comparison::Like,
                (true, false) => Comparison::NotLike,
                (false, true) => Comparison::ILike,
                (true, true) => Comparison::NotILike,
            };
            Some((*expr, comparison, *pattern))
        }
        Expr::Not(inner) => match parts_of(*inner)? {
            (left, Comparison::Like, right) => Some((left, Comparison::NotLike, right)),
            (left, Comparison::ILike, right) => Some((left, Comparison::NotILike, right)),
            (left, Comparison::Eq, right) => Some((left, Comparison::NotEq, right)),
            _ => None,
        },
        _ => None,
    }
}

/// What the elements of an array are kept in, those of all its dimensions.
fn element_type(array: &Expr, schema: &DFSchema) -> Option<DataType> {
    let mut ty = array.get_type(schema).ok()?;
    if !matches!(ty, DataType::List(_)) {
        return None;
    }
    while let DataType::List(field) = &ty {
        ty = field.data_type().clone();
    }
    (!ty.is_nested()).then_some(ty)
}

/// Whether the array has more dimensions than one.
fn is_matrix(array: &Expr, schema: &DFSchema) -> bool {
    matches!(array.get_type(schema), Ok(DataType::List(rows)) if matches!(rows.data_type(), DataType::List(_)))
}

/// An element, in what the operator makes of it before it compares.
const ELEMENT: &str = "element";

fn element_column() -> Expr {
    Expr::Column(Column::from_name(ELEMENT))
}

fn replaced(expr: Expr, column: &Expr, value: &Expr) -> DfResult<Expr> {
    let replace =
        |part: Expr| Ok(if part == *column { Transformed::yes(value.clone()) } else { Transformed::no(part) });
    Ok(expr.transform(replace)?.data)
}

/// What the operator makes of each of the elements.
fn converted(elements: ArrayRef, conversion: Option<&Expr>) -> DfResult<ArrayRef> {
    let Some(conversion) = conversion else { return Ok(elements) };
    let schema = Arc::new(Schema::new(vec![Field::new(ELEMENT, elements.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![elements])?;
    let (schema, context) = (DFSchema::try_from(schema)?, PhysicalPlanningContext::default());
    let expr = create_physical_expr(conversion, &schema, &ExecutionProps::new(), &context)?;
    expr.evaluate(&batch)?.into_array(batch.num_rows())
}

/// The elements of a constant array, in all its dimensions, converted; none where that fails, which is an error only once it is
/// asked for.
fn literal_elements(array: &Expr, conversion: Option<&Expr>, schema: &DFSchema) -> Option<Vec<Expr>> {
    match array {
        Expr::Literal(ScalarValue::List(list), _) if list.len() == 1 && list.is_valid(0) => {
            let flat = flat_items(&(Arc::clone(list) as ArrayRef)).ok()?;
            let values = converted(flat.as_list_opt::<i32>()?.value(0), conversion).ok()?;
            (0..values.len())
                .map(|index| ScalarValue::try_from_array(&values, index).ok().map(datafusion::logical_expr::lit))
                .collect()
        }
        Expr::ScalarFunction(call) if call.name() == "make_array" && is_matrix(array, schema) => {
            let rows = call.args.iter().map(|row| literal_elements(row, conversion, schema));
            rows.collect::<Option<Vec<_>>>().map(|rows| rows.into_iter().flatten().collect())
        }
        Expr::ScalarFunction(call) if call.name() == "make_array" => {
            let elements = call.args.iter().map(|element| match conversion {
                Some(conversion) => converted_element(conversion, element),
                None => Some(element.clone()),
            });
            elements.collect()
        }
        _ => None,
    }
}

fn converted_element(conversion: &Expr, element: &Expr) -> Option<Expr> {
    let Expr::Literal(value, _) = element else {
        return replaced(conversion.clone(), &element_column(), element).ok();
    };
    let values = converted(value.to_array().ok()?, Some(conversion)).ok()?;
    ScalarValue::try_from_array(&values, 0).ok().map(datafusion::logical_expr::lit)
}

/// Whether the engine's IN says what the comparison with each does.
fn can_be_listed(value: &Expr, list: &[Expr], schema: &DFSchema) -> bool {
    let is_float = value.get_type(schema).is_ok_and(|ty| ty.is_floating());
    // Which floats are zero must be known.
    let is_known = !is_float || list.iter().all(|item| matches!(item, Expr::Literal(..)));
    is_known && have_one_decimal(value, list, schema)
}

fn compare_function(comparison: Comparison, all: bool, conversion: Option<Expr>) -> ScalarUDF {
    let signature = Signature::any(2, Volatility::Immutable);
    ScalarUDF::new_from_impl(CompareWithArray { signature, comparison, all, conversion })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CompareWithArray {
    signature: Signature,
    comparison: Comparison,
    all: bool,
    /// What is compared of an element, when that is not the element itself.
    conversion: Option<Expr>,
}

impl ScalarUDFImpl for CompareWithArray {
    fn name(&self) -> &str {
        if self.all { "compare_all" } else { "compare_any" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [values, lists] = arrays.as_slice() else { return exec_err!("two arguments expected") };
        let lists: ArrayRef = match lists.data_type() {
            DataType::List(_) => Arc::clone(lists),
            DataType::Null => return Ok(ColumnarValue::Array(Arc::new(BooleanArray::new_null(values.len())))),
            other => {
                let Some(element) = list_element(other) else { return exec_err!("an array expected") };
                crate::encode::cast(lists, &DataType::new_list(element, true))?
            }
        };
        let lists = flat_items(&lists).map_err(Error::into_datafusion)?;
        let lists = lists.as_list::<i32>();
        let compared = self.compare(values, lists)?;
        Ok(ColumnarValue::Array(Arc::new(self.fold(lists, &compared))))
    }
}

fn list_element(list: &DataType) -> Option<DataType> {
    match list {
        DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => Some(field.data_type().clone()),
        _ => None,
    }
}

/// Of two integers or floats the wider type, for those are compared as they are; else the first.
fn wider([left, right]: [&DataType; 2]) -> &DataType {
    let alike = left.is_integer() && right.is_integer() || left.is_floating() && right.is_floating();
    if alike && left.primitive_width() < right.primitive_width() { right } else { left }
}

impl CompareWithArray {
    /// Each row's value against each element of the row's array, one after the other.
    fn compare(&self, values: &ArrayRef, lists: &arrow::array::ListArray) -> DfResult<BooleanArray> {
        let offsets = lists.value_offsets();
        let mut rows = Vec::with_capacity(lists.values().len());
        for (row, bounds) in offsets.windows(2).enumerate() {
            if let [from, to] = bounds {
                rows.extend(std::iter::repeat_n(row as u32, (to - from) as usize));
            }
        }
        let first = offsets.first().copied().unwrap_or_default() as usize;
        let elements = converted(lists.values().slice(first, rows.len()), self.conversion.as_ref())?;
        let left = take::take(values, &UInt32Array::from(rows), None)?;
        // Of two scales the finer one: rounding could make equal what differs.
        let types = [left.data_type(), elements.data_type()];
        let decimal = longer_decimal(types.into_iter()).or_else(|| common_decimal(types.into_iter()));
        let common = decimal.unwrap_or_else(|| wider(types).clone());
        let left = floats::comparable(&crate::encode::cast(&left, &common)?);
        let elements = floats::comparable(&crate::encode::cast(&elements, &common)?);
        let (left, right): (&dyn arrow::array::Datum, &dyn arrow::array::Datum) = (&left, &elements);
        Ok(match self.comparison {
            Comparison::Eq => cmp::eq(left, right)?,
            Comparison::NotEq => cmp::neq(left, right)?,
            Comparison::Lt => cmp::lt(left, right)?,
            Comparison::LtEq => cmp::lt_eq(left, right)?,
            Comparison::Gt => cmp::gt(left, right)?,
            Comparison::GtEq => cmp::gt_eq(left, right)?,
            Comparison::Like => comparison::like(left, right)?,
            Comparison::NotLike => comparison::nlike(left, right)?,
            Comparison::ILike => comparison::ilike(left, right)?,
            Comparison::NotILike => comparison::nilike(left, right)?,
        })
    }

    /// ANY is an OR over the elements, ALL an AND: one deciding answer wins, then NULL, then the neutral answer.
    fn fold(&self, lists: &arrow::array::ListArray, compared: &BooleanArray) -> BooleanArray {
        let decides = !self.all;
        let mut result = BooleanBuilder::with_capacity(lists.len());
        let mut at = 0;
        for row in 0..lists.len() {
            let length = lists.value_length(row) as usize;
            let range = at..at + length;
            at += length;
            if lists.is_null(row) {
                result.append_null();
                continue;
            }
            let mut unknown = false;
            let mut decided = false;
            for index in range {
                if compared.is_null(index) {
                    unknown = true;
                } else if compared.value(index) == decides {
                    decided = true;
                    break;
                }
            }
            match (decided, unknown) {
                (true, _) => result.append_value(decides),
                (false, true) => result.append_null(),
                (false, false) => result.append_value(!decides),
            }
        }
        result.finish()
    }
}

//! Cheaper than a condition's value for each row is, mostly, the proof that it is true for all rows of a batch: bounds that
//! the values stay within, and texts that were asked before. Without a proof the rows are asked one by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray, StringViewArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Int16Type, Int32Type, Int64Type, Schema, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, IsNotNullExpr, Literal};
use parking_lot::RwLock;

use super::profile::mixed;

/// Texts that a condition is known to be true of.
const TEXTS_MAX: usize = 32;
/// Batches that such a text was looked for in vain.
const MISSES_MAX: u32 = 64;
const SLOTS: usize = 256;
/// Ways to spread texts over the slots that are tried.
const FACTORS: u64 = 1024;
/// What no view of a text is: its length would be negative.
const NO_VIEW: u128 = u128::MAX;
/// Texts up to this length stand in their views.
const INLINE_BYTES: u32 = 12;

/// How a condition may be proved for a batch.
#[derive(Debug)]
pub struct Proof {
    parts: Vec<Part>,
}

/// A conjunct, or several over one operand.
#[derive(Debug)]
enum Part {
    Known(Arc<dyn PhysicalExpr>),
    Within(Within),
    Ordered { left: usize, right: usize, or_equal: bool },
    Texts(Texts),
}

/// The operand's values, which are integers as they are stored, lie between the bounds.
#[derive(Debug)]
struct Within {
    operand: Arc<dyn PhysicalExpr>,
    low: i128,
    high: i128,
}

impl Proof {
    /// `None` for a condition that only its evaluation tells of.
    pub fn of(condition: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<Self> {
        let mut parts = Vec::new();
        let mut pending = vec![condition];
        while let Some(next) = pending.pop() {
            match next.downcast_ref::<BinaryExpr>() {
                Some(both) if *both.op() == Operator::And => pending.extend([both.right(), both.left()]),
                _ => add(&mut parts, next, schema)?,
            }
        }
        Some(Self { parts })
    }

    /// Whether the condition is proved to be true for all rows.
    pub fn holds(&self, batch: &RecordBatch) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Known(operand) => values(operand, batch).is_some(),
            Part::Within(within) => values(&within.operand, batch).is_some_and(|values| within.holds(&values)),
            Part::Ordered { left, right, or_equal } => {
                match (batch.columns().get(*left), batch.columns().get(*right)) {
                    (Some(left), Some(right)) => is_ordered(left, right, *or_equal),
                    _ => false,
                }
            }
            Part::Texts(texts) => texts.holds(batch),
        })
    }
}

/// The operand's values, if none of them is NULL or an error.
fn values(operand: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Option<ArrayRef> {
    let values = operand.evaluate(batch).ok()?.into_array(batch.num_rows()).ok()?;
    (values.logical_null_count() == 0).then_some(values)
}

fn add(parts: &mut Vec<Part>, conjunct: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<()> {
    if let Some(known) = conjunct.downcast_ref::<IsNotNullExpr>().filter(|known| known.arg().is::<Column>()) {
        parts.push(Part::Known(Arc::clone(known.arg())));
        return Some(());
    }
    if let Some(part) = comparison(conjunct, schema) {
        let same = |known: &mut Part| match (known, &part) {
            (Part::Within(known), Part::Within(new)) if known.operand.eq(&new.operand) => {
                (known.low, known.high) = (known.low.max(new.low), known.high.min(new.high));
                true
            }
            _ => false,
        };
        if !parts.iter_mut().any(same) {
            parts.push(part);
        }
        return Some(());
    }
    parts.push(Part::Texts(Texts::of(conjunct, schema)?));
    Some(())
}

fn comparison(conjunct: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<Part> {
    let comparison = conjunct.downcast_ref::<BinaryExpr>()?;
    let (left, right) = (comparison.left(), comparison.right());
    let (operand, constant, op) = match (left.downcast_ref::<Literal>(), right.downcast_ref::<Literal>()) {
        (None, Some(constant)) => (left, constant, *comparison.op()),
        (Some(constant), None) => (right, constant, comparison.op().swap()?),
        (None, None) => return ordered(left, right, *comparison.op(), schema),
        (Some(_), Some(_)) => return None,
    };
    if operand.data_type(schema).ok()? != constant.value().data_type() {
        return None;
    }
    let bound = stored(constant.value())?;
    let (least, greatest) = (i128::MIN, i128::MAX);
    let (low, high) = match op {
        Operator::Gt => (bound.checked_add(1)?, greatest),
        Operator::GtEq => (bound, greatest),
        Operator::Lt => (least, bound.checked_sub(1)?),
        Operator::LtEq => (least, bound),
        Operator::Eq => (bound, bound),
        _ => return None,
    };
    Some(Part::Within(uncast(Within { operand: Arc::clone(operand), low, high }, schema)))
}

/// The constant as it is stored in an array of its type.
fn stored(constant: &ScalarValue) -> Option<i128> {
    Some(match constant {
        ScalarValue::Int16(value) => i128::from((*value)?),
        ScalarValue::Int32(value) | ScalarValue::Date32(value) => i128::from((*value)?),
        ScalarValue::Int64(value)
        | ScalarValue::TimestampSecond(value, _)
        | ScalarValue::TimestampMillisecond(value, _)
        | ScalarValue::TimestampMicrosecond(value, _)
        | ScalarValue::TimestampNanosecond(value, _) => i128::from((*value)?),
        ScalarValue::Decimal128(value, _, _) => (*value)?,
        _ => return None,
    })
}

/// Digits before the point and scale of an exact number.
fn digits(ty: &DataType) -> Option<(i16, i8)> {
    match ty {
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((19, 0)),
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            Some((i16::from(*precision) - i16::from(*scale), *scale))
        }
        _ => None,
    }
}

/// The bounds of what a cast to a wider decimal is made of, where that cast can lose nothing.
fn uncast(within: Within, schema: &Schema) -> Within {
    let narrower = || {
        let cast = within.operand.downcast_ref::<CastExpr>()?;
        let operand = cast.expr();
        let DataType::Decimal128(..) = cast.cast_type() else { return None };
        let (room, scale) = digits(cast.cast_type())?;
        let (needed, own_scale) = digits(&operand.data_type(schema).ok()?)?;
        if room < needed || scale < own_scale {
            return None;
        }
        let unit = 10_i128.checked_pow((scale - own_scale).unsigned_abs().into())?;
        let up = |bound: i128| bound.div_euclid(unit) + i128::from(bound.rem_euclid(unit) != 0);
        let low = if within.low == i128::MIN { i128::MIN } else { up(within.low) };
        let high = if within.high == i128::MAX { i128::MAX } else { within.high.div_euclid(unit) };
        Some(Within { operand: Arc::clone(operand), low, high })
    };
    narrower().unwrap_or(within)
}

impl Within {
    fn holds(&self, values: &ArrayRef) -> bool {
        match values.data_type() {
            DataType::Int16 => self.all::<Int16Type>(values),
            DataType::Int32 => self.all::<Int32Type>(values),
            DataType::Date32 => self.all::<Date32Type>(values),
            DataType::Int64 => self.all::<Int64Type>(values),
            DataType::Timestamp(TimeUnit::Second, _) => self.all::<TimestampSecondType>(values),
            DataType::Timestamp(TimeUnit::Millisecond, _) => self.all::<TimestampMillisecondType>(values),
            DataType::Timestamp(TimeUnit::Microsecond, _) => self.all::<TimestampMicrosecondType>(values),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => self.all::<TimestampNanosecondType>(values),
            DataType::Decimal128(..) => self.all::<Decimal128Type>(values),
            _ => false,
        }
    }

    fn all<T: ArrowPrimitiveType<Native: Into<i128> + PartialOrd + TryFrom<i128>>>(&self, values: &ArrayRef) -> bool {
        let Some(values) = values.as_primitive_opt::<T>() else { return false };
        // A bound that the type does not reach rules out nothing, or everything.
        let (low, high) = (T::Native::try_from(self.low).ok(), T::Native::try_from(self.high).ok());
        let low = match low {
            Some(low) => low,
            None if self.low < 0 => T::Native::MIN_TOTAL_ORDER,
            None => return values.is_empty(),
        };
        let high = match high {
            Some(high) => high,
            None if self.high > 0 => T::Native::MAX_TOTAL_ORDER,
            None => return values.is_empty(),
        };
        values.values().iter().fold(true, |all, value| all & (*value >= low) & (*value <= high))
    }
}

/// A comparison of two columns of one type.
fn ordered(left: &Arc<dyn PhysicalExpr>, right: &Arc<dyn PhysicalExpr>, op: Operator, schema: &Schema) -> Option<Part> {
    let (less, more) = match op {
        Operator::Lt | Operator::LtEq => (left, right),
        Operator::Gt | Operator::GtEq => (right, left),
        _ => return None,
    };
    if less.data_type(schema).ok()? != more.data_type(schema).ok()? {
        return None;
    }
    let (left, right) = (less.downcast_ref::<Column>()?.index(), more.downcast_ref::<Column>()?.index());
    Some(Part::Ordered { left, right, or_equal: matches!(op, Operator::LtEq | Operator::GtEq) })
}

fn is_ordered(left: &ArrayRef, right: &ArrayRef, or_equal: bool) -> bool {
    fn all<T: ArrowPrimitiveType>(left: &ArrayRef, right: &ArrayRef, or_equal: bool) -> bool {
        let (Some(left), Some(right)) = (left.as_primitive_opt::<T>(), right.as_primitive_opt::<T>()) else {
            return false;
        };
        let pairs = left.values().iter().zip(right.values());
        match or_equal {
            true => pairs.fold(true, |all, (left, right)| all & (left <= right)),
            false => pairs.fold(true, |all, (left, right)| all & (left < right)),
        }
    }
    if left.null_count() + right.null_count() > 0 || left.data_type() != right.data_type() {
        return false;
    }
    match left.data_type() {
        DataType::Int16 => all::<Int16Type>(left, right, or_equal),
        DataType::Int32 => all::<Int32Type>(left, right, or_equal),
        DataType::Int64 => all::<Int64Type>(left, right, or_equal),
        DataType::Date32 => all::<Date32Type>(left, right, or_equal),
        DataType::Timestamp(TimeUnit::Microsecond, _) => all::<TimestampMicrosecondType>(left, right, or_equal),
        DataType::Decimal128(..) => all::<Decimal128Type>(left, right, or_equal),
        _ => false,
    }
}

/// A condition on one column of texts, true of all that were asked of it.
#[derive(Debug)]
struct Texts {
    column: usize,
    condition: Arc<dyn PhysicalExpr>,
    known: RwLock<Arc<KnownTexts>>,
    misses: AtomicU32,
}

#[derive(Debug, Clone)]
struct KnownTexts {
    /// Views of short texts, each in the slot that the factor gives it and no other.
    slots: [u128; SLOTS],
    factor: u64,
    short: Vec<u128>,
    long: Vec<Box<[u8]>>,
}

impl Texts {
    fn of(condition: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<Self> {
        let mut columns = Vec::new();
        let visited = condition.apply(|expr| {
            columns.extend(expr.downcast_ref::<Column>().map(Column::index));
            Ok(TreeNodeRecursion::Continue)
        });
        visited.ok()?;
        columns.dedup();
        let [column] = *columns else { return None };
        let is_text = matches!(schema.fields().get(column)?.data_type(), DataType::Utf8View);
        let known = KnownTexts { slots: [NO_VIEW; SLOTS], factor: 1, short: Vec::new(), long: Vec::new() };
        is_text.then(|| Self {
            column,
            condition: Arc::clone(condition),
            known: RwLock::new(Arc::new(known)),
            misses: AtomicU32::new(0),
        })
    }

    fn holds(&self, batch: &RecordBatch) -> bool {
        if self.misses.load(Ordering::Relaxed) >= MISSES_MAX {
            return false;
        }
        let texts = batch.columns().get(self.column).and_then(|column| column.as_string_view_opt());
        let Some(texts) = texts.filter(|texts| texts.null_count() == 0) else { return false };
        let known = Arc::clone(&self.known.read());
        if known.has_all(texts) {
            return true;
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        self.learned(&known, texts, batch).is_some_and(|learned| {
            *self.known.write() = Arc::new(learned);
            true
        })
    }

    /// What is known after the texts that are new have been asked; `None` where the condition is not true of one, or they
    /// are too many.
    fn learned(&self, known: &KnownTexts, texts: &StringViewArray, batch: &RecordBatch) -> Option<KnownTexts> {
        let mut learned = known.clone();
        let mut rows = Vec::new();
        for (row, view) in texts.views().iter().enumerate() {
            if !learned.has(*view, texts, row) {
                learned.put(*view, texts, row)?;
                rows.push(u32::try_from(row).ok()?);
            }
        }
        let asked = take_record_batch(batch, &UInt32Array::from(rows)).ok()?;
        let value = self.condition.evaluate(&asked).ok()?.into_array(asked.num_rows()).ok()?;
        let value = value.as_boolean_opt()?;
        (value.null_count() == 0 && value.true_count() == asked.num_rows()).then_some(learned)
    }
}

#[inline]
fn slot(view: u128, factor: u64) -> usize {
    let bits = (view as u64).rotate_left(29) ^ (view >> u64::BITS) as u64;
    // Dietzfelbinger's multiplication by an odd factor: two texts rarely meet in the first bits.
    (bits.wrapping_mul(factor) >> (u64::BITS - SLOTS.ilog2())) as usize
}

impl KnownTexts {
    fn has_all(&self, texts: &StringViewArray) -> bool {
        texts.views().iter().enumerate().all(|(row, view)| self.has(*view, texts, row))
    }

    #[inline]
    fn has(&self, view: u128, texts: &StringViewArray, row: usize) -> bool {
        if view as u32 <= INLINE_BYTES {
            return self.slots.get(slot(view, self.factor)).is_some_and(|known| *known == view);
        }
        let text = texts.value(row).as_bytes();
        self.long.iter().any(|known| **known == *text)
    }

    /// `None` where there is no place for it.
    fn put(&mut self, view: u128, texts: &StringViewArray, row: usize) -> Option<()> {
        if self.short.len() + self.long.len() >= TEXTS_MAX {
            return None;
        }
        if view as u32 > INLINE_BYTES {
            self.long.push(texts.value(row).as_bytes().into());
            return Some(());
        }
        self.short.push(view);
        (0..FACTORS).any(|number| self.spread(mixed(number) | 1)).then_some(())
    }

    /// Puts the short texts into slots; false where two meet.
    fn spread(&mut self, factor: u64) -> bool {
        (self.factor, self.slots) = (factor, [NO_VIEW; SLOTS]);
        self.short.iter().all(|view| {
            let slot = self.slots.get_mut(slot(*view, factor)).filter(|slot| **slot == NO_VIEW);
            slot.map(|slot| *slot = *view).is_some()
        })
    }
}

#[cfg(test)]
mod tests;

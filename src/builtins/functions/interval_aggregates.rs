//! `sum`, `avg`, `min` and `max` of intervals.

use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use super::date_arithmetic::{interval_out_of_range, scale_interval, span};
use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Sum,
    Average,
    Min,
    Max,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalAggregate {
    kind: Kind,
    signature: Signature,
}

pub(super) fn of(kind: Kind) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(IntervalAggregate { kind, signature: Signature::any(1, Volatility::Immutable) }))
}

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

impl AggregateUDFImpl for IntervalAggregate {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Sum => "sum",
            Kind::Average => "avg",
            Kind::Min => "min",
            Kind::Max => "max",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(INTERVAL)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        match self.kind {
            Kind::Min | Kind::Max => Ok(Box::new(Extreme { max: self.kind == Kind::Max, best: None })),
            Kind::Sum | Kind::Average if args.is_distinct => {
                Err(Error::unsupported("DISTINCT in a sum of intervals").into_datafusion())
            }
            Kind::Sum | Kind::Average => {
                let average = self.kind == Kind::Average;
                Ok(Box::new(Total { average, months: 0, days: 0, nanos: 0, count: 0 }))
            }
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        let field = |part: &str, ty: DataType| Arc::new(Field::new(format!("{}[{part}]", args.name), ty, true));
        Ok(match self.kind {
            Kind::Min | Kind::Max => vec![field("best", INTERVAL)],
            Kind::Sum | Kind::Average => vec![
                field("months", DataType::Int64),
                field("days", DataType::Int64),
                field("nanos", DataType::Decimal128(38, 0)),
                field("count", DataType::Int64),
            ],
        })
    }
}

/// The shortest or the longest interval; of equally long ones the last, as in PostgreSQL.
#[derive(Debug)]
struct Extreme {
    max: bool,
    best: Option<IntervalMonthDayNano>,
}

impl Accumulator for Extreme {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let Some(values) = values.first() else { return Ok(()) };
        for value in values.as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
            let better = match self.best {
                None => true,
                Some(best) if self.max => span(value) >= span(best),
                Some(best) => span(value) <= span(best),
            };
            if better {
                self.best = Some(value);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        Ok(ScalarValue::IntervalMonthDayNano(self.best))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::IntervalMonthDayNano(self.best)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        self.update_batch(states)
    }
}

/// The sum of each field.
#[derive(Debug)]
struct Total {
    average: bool,
    months: i64,
    days: i64,
    nanos: i128,
    count: i64,
}

impl Total {
    fn change(&mut self, values: &[ArrayRef], sign: i64) {
        let Some(values) = values.first() else { return };
        for value in values.as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
            self.months += sign * i64::from(value.months);
            self.days += sign * i64::from(value.days);
            self.nanos += i128::from(sign) * i128::from(value.nanoseconds);
            self.count += sign;
        }
    }

    fn result(&self) -> Result<Option<IntervalMonthDayNano>> {
        if self.count == 0 {
            return Ok(None);
        }
        let parts = (i32::try_from(self.months), i32::try_from(self.days), i64::try_from(self.nanos));
        let (Ok(months), Ok(days), Ok(nanos)) = parts else { return Err(interval_out_of_range()) };
        let sum = IntervalMonthDayNano::new(months, days, nanos);
        let count = self.count as f64;
        if self.average { scale_interval(sum, |part| part / count).map(Some) } else { Ok(Some(sum)) }
    }
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.change(values, 1);
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.change(values, -1);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        self.result().map(ScalarValue::IntervalMonthDayNano).map_err(Error::into_datafusion)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Ok(vec![
            ScalarValue::Int64(Some(self.months)),
            ScalarValue::Int64(Some(self.days)),
            ScalarValue::Decimal128(Some(self.nanos), 38, 0),
            ScalarValue::Int64(Some(self.count)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let [months, days, nanos, counts] = states else { return Ok(()) };
        let whole = |array: &ArrayRef| array.as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
        self.months += whole(months);
        self.days += whole(days);
        self.nanos += nanos.as_primitive::<Decimal128Type>().iter().flatten().sum::<i128>();
        self.count += whole(counts);
        Ok(())
    }
}

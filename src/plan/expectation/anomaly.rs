//! `is_anomaly(value, last => 30, sigma => 3)`: whether a value is far from what it was in the last runs of the rule.

use std::ops::ControlFlow;

use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, Spanned as _, VisitMut as _, VisitorMut};

use crate::error::{Error, Result, SqlState};
use crate::plan::bind::names::{fold, last_name};
use crate::sql;

/// Earlier values that it takes to tell what is usual.
const VALUES_MIN: usize = 3;
/// Earlier values that can be looked at.
const LAST_MAX: u32 = 10_000;
/// The share of the mean by which sums of floats may differ.
const ROUNDING: f64 = 1e-9;

/// One call of the function.
#[derive(Debug, Clone)]
pub struct Anomaly {
    pub value: Expr,
    /// Earlier values that are looked at, newest first.
    pub last: u32,
    /// Standard deviations that are usual.
    pub sigma: f64,
}

/// What is usual: the bounds of the values.
#[derive(Debug, Clone, Copy)]
pub struct Usual {
    pub low: f64,
    pub high: f64,
}

impl Anomaly {
    /// `None`: too few values are known.
    pub fn usual(&self, values: &[f64]) -> Option<Usual> {
        let count = usize::try_from(self.last).unwrap_or(usize::MAX).min(values.len());
        let values = values.get(..count).filter(|values| values.len() >= VALUES_MIN)?;
        let count = count as f64;
        let mean = values.iter().sum::<f64>() / count;
        let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
        let reach = (self.sigma * deviation).max(mean.abs() * ROUNDING);
        (mean + reach).is_finite().then_some(Usual { low: mean - reach, high: mean + reach })
    }
}

impl Usual {
    /// As the threshold of a result tells it.
    pub fn text(self) -> String {
        format!("{} AND {}", self.low, self.high)
    }
}

/// Takes the call of is_anomaly out of a condition: `usual` says what stands there instead.
///
/// # Errors
/// 22023 and 42883 for arguments that it does not take, 0A000 for a second call; with positions in `source`.
pub fn taken(
    condition: &mut Expr,
    source: &str,
    usual: impl FnMut(&Anomaly) -> Option<Usual>,
) -> Result<Option<Anomaly>> {
    let mut visitor = Taken { source, usual, found: None };
    match condition.visit(&mut visitor) {
        ControlFlow::Continue(()) => Ok(visitor.found),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Taken<'a, F> {
    source: &'a str,
    usual: F,
    found: Option<Anomaly>,
}

impl<F: FnMut(&Anomaly) -> Option<Usual>> Taken<'_, F> {
    fn replaced(&mut self, call: &ast::Function) -> Result<Expr> {
        let position = sql::span_position(self.source, call.name.span());
        if self.found.is_some() {
            return Err(Error::unsupported("a second is_anomaly in one expectation").at(position));
        }
        let anomaly = arguments(call, self.source).map_err(|error| match error.position() {
            Some(_) => error,
            None => error.at(position),
        })?;
        let value = anomaly.value.clone();
        let expr = match (self.usual)(&anomaly) {
            None => sql::parse_expression("false")?,
            Some(usual) => Expr::Between {
                expr: Box::new(float(value)?),
                negated: true,
                low: Box::new(number(usual.low)?),
                high: Box::new(number(usual.high)?),
            },
        };
        self.found = Some(anomaly);
        Ok(Expr::Nested(Box::new(expr)))
    }
}

impl<F: FnMut(&Anomaly) -> Option<Usual>> VisitorMut for Taken<'_, F> {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        if last_name(&call.name) != "is_anomaly" {
            return ControlFlow::Continue(());
        }
        match self.replaced(call) {
            Ok(replaced) => {
                *expr = replaced;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn arguments(call: &ast::Function, source: &str) -> Result<Anomaly> {
    let wrong = || {
        Error::new(SqlState::UndefinedFunction, "wrong arguments of function is_anomaly")
            .with_hint("Call is_anomaly(value, last => 30, sigma => 3).")
    };
    let ast::FunctionArguments::List(list) = &call.args else { return Err(wrong()) };
    let is_plain = list.duplicate_treatment.is_none()
        && list.clauses.is_empty()
        && call.filter.is_none()
        && call.over.is_none()
        && call.within_group.is_empty();
    let mut anomaly: Option<Expr> = None;
    let (mut last, mut sigma) = (None, None);
    for (index, argument) in list.args.iter().enumerate() {
        let (name, expr) = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (["value", "last", "sigma"].get(index).copied(), expr),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                let name = fold(name);
                (["value", "last", "sigma"].into_iter().find(|known| *known == name), expr)
            }
            _ => return Err(wrong()),
        };
        let position = sql::span_position(source, expr.span());
        match name {
            Some("value") if anomaly.is_none() => anomaly = Some(expr.clone()),
            Some("last") if last.is_none() => last = Some(whole(expr).map_err(|error| error.at(position))?),
            Some("sigma") if sigma.is_none() => sigma = Some(positive(expr).map_err(|error| error.at(position))?),
            _ => return Err(wrong()),
        }
    }
    match anomaly.filter(|_| is_plain) {
        Some(value) => Ok(Anomaly { value, last: last.unwrap_or(30), sigma: sigma.unwrap_or(3.0) }),
        None => Err(wrong()),
    }
}

fn digits(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, _) => Some(digits),
            _ => None,
        },
        _ => None,
    }
}

fn whole(expr: &Expr) -> Result<u32> {
    let least = u32::try_from(VALUES_MIN).unwrap_or(u32::MAX);
    let number = digits(expr).and_then(|digits| digits.parse().ok());
    number.filter(|number| (least..=LAST_MAX).contains(number)).ok_or_else(|| {
        let message = format!("\"last\" of is_anomaly must be a number from {least} to {LAST_MAX}");
        Error::new(SqlState::InvalidParameterValue, message)
    })
}

fn positive(expr: &Expr) -> Result<f64> {
    let number = digits(expr).and_then(|digits| digits.parse::<f64>().ok());
    number
        .filter(|number| number.is_finite() && *number > 0.0)
        .ok_or_else(|| Error::new(SqlState::InvalidParameterValue, "\"sigma\" of is_anomaly must be a number above 0"))
}

/// `expr::double precision`.
fn float(expr: Expr) -> Result<Expr> {
    let mut cast = sql::parse_expression("(0)::double precision")?;
    if let Expr::Cast { expr: slot, .. } = &mut cast {
        **slot = Expr::Nested(Box::new(expr));
    }
    Ok(cast)
}

fn number(value: f64) -> Result<Expr> {
    sql::parse_expression(&format!("'{value:e}'::double precision"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_follows_the_last_values() {
        let anomaly = |last, sigma| Anomaly { value: sql::parse_expression("1").unwrap(), last, sigma };
        assert!(anomaly(30, 3.0).usual(&[1.0, 2.0]).is_none());
        let usual = anomaly(3, 2.0).usual(&[1.0, 2.0, 3.0, 1000.0]).unwrap();
        assert_eq!((usual.low, usual.high), (0.0, 4.0));
        let usual = anomaly(30, 3.0).usual(&[0.1, 0.1, 0.1]).unwrap();
        assert!(usual.low < 0.1 && 0.1 < usual.high && usual.high < 0.1001);
    }
}

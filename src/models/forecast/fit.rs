//! Maximum likelihood for each shape that suits the values, and the choice among them.

use super::recursion::{Likelihood, Slopes, Smoothing, likelihood, run, slopes};
use super::season::{detect, interpolate};
use super::{ErrorKind, Ets, ForecastOptions, Period, Season, Shape, State, Trend};
use crate::models::algebra::minimise::{Limits, Minimum, minimise};
use crate::models::algebra::parallel::in_order;
use crate::models::refusal::Refusal;
use crate::models::watch::Watch;

/// Bounds of alpha, beta / alpha and gamma / (1 - alpha), and of phi: statsmodels' and R's.
const SMOOTHING: (f64, f64) = (1e-4, 1.0 - 1e-4);
const DAMPING: (f64, f64) = (0.8, 0.98);
/// Where searches start: (alpha, beta / alpha, gamma / (1 - alpha)). The likelihood has several tops, mostly one for a slow and one for a
/// quick level, slope or season; each start goes some way, the best ones to the end.
const STARTS: [(f64, f64, f64); 4] = [(0.1, 0.05, 0.05), (0.6, 0.1, 0.2), (0.9, 0.8, 0.05), (0.2, 0.05, 0.9)];
const FIRST_ITERATIONS: usize = 30;
const KEPT_STARTS: usize = 2;
/// Of the likelihood's value in an iteration: less, three times in a row, ends a search.
const GAIN_MIN: f64 = 1e-8;
/// A model needs this many values.
const OBSERVED_MIN: usize = 3;

impl Ets {
    /// Fits a series on a regular grid. NaN is no value: there the state goes on by its own prediction, and the likelihood counts nothing.
    ///
    /// Each shape's parameters and starting states maximise the likelihood within the usual bounds; the shape has the smallest AICc of
    /// those allowed by the options. Multiplicative shapes need positive values; errors with seasons of another kind, as in R's `ets`,
    /// are A with N or A, and M with all. A season needs two periods of values.
    /// Errors: fewer than 3 values, an infinite one, a shape that the values do not allow, `Stopped`.
    pub fn fit(values: &[f64], options: &ForecastOptions, watch: &dyn Watch) -> Result<Self, Refusal> {
        let squares: f64 = values.iter().filter(|value| !value.is_nan()).map(|value| value * value).sum();
        if !squares.is_finite() {
            return Err(Refusal::Infinite { column: "value".to_owned() });
        }
        // Steps before the first value say nothing.
        let first = values.iter().position(|value| !value.is_nan()).unwrap_or(values.len());
        let values = &values[first..];
        let observed = values.iter().filter(|value| !value.is_nan()).count();
        if observed < OBSERVED_MIN {
            return Err(Refusal::TooFewRows { rows: observed, needed: OBSERVED_MIN });
        }
        let period = period(values, options, watch)?;
        let mut best: Option<Self> = None;
        for shape in shapes(values, period, options) {
            watch.check()?;
            let Some(model) = fit_shape(values, shape, period, options.iterations_max, watch)? else { continue };
            if best.as_ref().is_none_or(|best| model.aicc < best.aicc) {
                best = Some(model);
            }
        }
        best.ok_or_else(|| unsuited(values, period, observed, options))
    }

    /// Fits each series on its own, on at most `threads` threads; a series that cannot be fitted has its refusal in its place.
    pub fn fit_all(
        series: &[(&[f64], ForecastOptions)],
        threads: usize,
        watch: &dyn Watch,
    ) -> Result<Vec<Result<Self, Refusal>>, Refusal> {
        let done = std::sync::atomic::AtomicUsize::new(0);
        in_order(threads, series.len(), |index| {
            let (values, options) = &series[index];
            let fitted = match Self::fit(values, options, watch) {
                Err(Refusal::Stopped) => return Err(Refusal::Stopped),
                fitted => fitted,
            };
            watch.progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1, series.len(), None);
            Ok(fitted)
        })
    }
}

fn period(values: &[f64], options: &ForecastOptions, watch: &dyn Watch) -> Result<usize, Refusal> {
    match &options.period {
        _ if options.season == Some(Season::None) => Ok(1),
        Period::Given(period) if *period >= 1 && (*period == 1 || 2 * period <= values.len()) => Ok(*period),
        Period::Given(_) => Err(Refusal::option(
            "period",
            format!("must be at most half of the series, which has {} steps", values.len()),
        )),
        Period::Among(periods) => Ok(detect(values, periods, watch)?.unwrap_or(1)),
    }
}

/// Why no shape that was asked for could be fitted.
fn unsuited(values: &[f64], period: usize, observed: usize, options: &ForecastOptions) -> Refusal {
    let seasonal = options.season.is_some_and(|season| season != Season::None);
    if seasonal && period < 2 {
        return Refusal::option(
            "seasonal",
            "needs a season, and none shows in the values: give its steps by the option period",
        );
    }
    if values.iter().any(|value| *value <= 0.0) {
        if options.season == Some(Season::Multiplicative) {
            return Refusal::option("seasonal", "must not be multiplicative: not all values are above 0");
        }
        if options.error == Some(ErrorKind::Multiplicative) {
            return Refusal::option("error", "must not be multiplicative: not all values are above 0");
        }
    }
    let (season, trend) = (options.season.unwrap_or(Season::None), options.trend.unwrap_or(Trend::None));
    let shape = Shape { error: options.error.unwrap_or(ErrorKind::Additive), trend, season };
    Refusal::TooFewRows { rows: observed, needed: shape.parameters(period) + 3 }
}

fn shapes(values: &[f64], period: usize, options: &ForecastOptions) -> Vec<Shape> {
    let positive = values.iter().all(|value| value.is_nan() || *value > 0.0);
    let mut shapes = Vec::new();
    for error in [ErrorKind::Additive, ErrorKind::Multiplicative] {
        for trend in [Trend::None, Trend::Additive, Trend::Damped] {
            for season in [Season::None, Season::Additive, Season::Multiplicative] {
                let asked = options.error.is_none_or(|asked| asked == error)
                    && options.trend.is_none_or(|asked| asked == trend)
                    && options.season.is_none_or(|asked| asked == season);
                let multiplicative = error == ErrorKind::Multiplicative || season == Season::Multiplicative;
                let unstable =
                    error == ErrorKind::Additive && season == Season::Multiplicative && options.error.is_none();
                let seasonal = season == Season::None || period > 1;
                if asked && seasonal && !unstable && (positive || !multiplicative) {
                    shapes.push(Shape { error, trend, season });
                }
            }
        }
    }
    shapes
}

/// Values brought to about 1: `(value - shift) / scale`. Multiplicative shapes are not shifted.
struct Scaled {
    values: Vec<f64>,
    shift: f64,
    scale: f64,
}

fn scaled(values: &[f64], shape: Shape) -> Scaled {
    let known = values.iter().filter(|value| !value.is_nan());
    let count = known.clone().count() as f64;
    let mean = known.clone().sum::<f64>() / count;
    let additive = shape.error == ErrorKind::Additive && shape.season != Season::Multiplicative;
    let (shift, scale) = if additive {
        (mean, (known.map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt())
    } else {
        (0.0, mean)
    };
    // A constant series has nothing to scale by.
    let scale = if scale > 1e-12 * mean.abs() && scale.is_finite() { scale } else { 1.0 };
    Scaled { values: values.iter().map(|value| (value - shift) / scale).collect(), shift, scale }
}

/// A point of the search: logits of the parameters within their bounds, then the starting states, whose last seasonal follows from the
/// others (their sum is 0, or the period).
struct Coordinates {
    shape: Shape,
    period: usize,
}

fn within((low, high): (f64, f64), z: f64) -> (f64, f64) {
    let share = 1.0 / (1.0 + (-z).exp());
    (low + (high - low) * share, (high - low) * share * (1.0 - share))
}

fn logit((low, high): (f64, f64), value: f64) -> f64 {
    let share = (value - low) / (high - low);
    (share / (1.0 - share)).ln()
}

impl Coordinates {
    fn point(&self, (alpha, trend, season): (f64, f64, f64), state: &State) -> Vec<f64> {
        let mut point = vec![logit(SMOOTHING, alpha)];
        point.extend(self.shape.has_trend().then(|| logit(SMOOTHING, trend)));
        point.extend(self.shape.has_season().then(|| logit(SMOOTHING, season)));
        point.extend((self.shape.trend == Trend::Damped).then(|| logit(DAMPING, 0.95)));
        point.push(state.level);
        point.extend(self.shape.has_trend().then_some(state.slope));
        point.extend(state.seasonal.iter().take(state.seasonal.len().saturating_sub(1)));
        point
    }

    /// Parameters and states of a point, and the derivatives of the bounds: (alpha, share of beta, share of gamma, phi).
    fn read(&self, point: &[f64]) -> (Smoothing, State, [(f64, f64); 4]) {
        let mut rest = point.iter().copied();
        let mut next = || rest.next().unwrap_or(0.0);
        let alpha = within(SMOOTHING, next());
        let trend = if self.shape.has_trend() { within(SMOOTHING, next()) } else { (0.0, 0.0) };
        let season = if self.shape.has_season() { within(SMOOTHING, next()) } else { (0.0, 0.0) };
        let phi = if self.shape.trend == Trend::Damped { within(DAMPING, next()) } else { (1.0, 0.0) };
        let level = next();
        let slope = if self.shape.has_trend() { next() } else { 0.0 };
        let mut seasonal: Vec<f64> = rest.collect();
        if self.shape.has_season() {
            let whole = if self.shape.season == Season::Multiplicative { self.period as f64 } else { 0.0 };
            seasonal.push(whole - seasonal.iter().sum::<f64>());
        }
        let smoothing =
            Smoothing { alpha: alpha.0, beta: alpha.0 * trend.0, gamma: (1.0 - alpha.0) * season.0, phi: phi.0 };
        (smoothing, State { level, slope, seasonal }, [alpha, trend, season, phi])
    }

    fn gradient(&self, bounds: [(f64, f64); 4], slopes: &Slopes, gradient: &mut [f64]) {
        let [alpha, trend, season, phi] = bounds;
        let mut all = vec![(slopes.alpha + slopes.beta * trend.0 - slopes.gamma * season.0) * alpha.1];
        all.extend(self.shape.has_trend().then_some(slopes.beta * alpha.0 * trend.1));
        all.extend(self.shape.has_season().then_some(slopes.gamma * (1.0 - alpha.0) * season.1));
        all.extend((self.shape.trend == Trend::Damped).then_some(slopes.phi * phi.1));
        all.push(slopes.level);
        all.extend(self.shape.has_trend().then_some(slopes.slope));
        if let Some((last, others)) = slopes.seasonal.split_last() {
            all.extend(others.iter().map(|slope| slope - last));
        }
        gradient.iter_mut().zip(all).for_each(|(place, value)| *place = value);
    }
}

/// `None` when the shape has more parameters than the values allow or no start from which it can run.
fn fit_shape(
    values: &[f64],
    shape: Shape,
    period: usize,
    iterations_max: usize,
    watch: &dyn Watch,
) -> Result<Option<Ets>, Refusal> {
    let period = if shape.has_season() { period } else { 1 };
    let observed = values.iter().filter(|value| !value.is_nan()).count();
    // The simplest shape is kept for the shortest series.
    let simplest = shape == Shape { error: ErrorKind::Additive, trend: Trend::None, season: Season::None };
    if observed <= shape.parameters(period) + 2 && !simplest {
        return Ok(None);
    }
    let scaled = scaled(values, shape);
    let coordinates = Coordinates { shape, period };
    let state = start(&scaled.values, shape, period);
    let search = |from: Vec<f64>, iterations_max: usize| {
        let limits = Limits { iterations_max, gradient_max: 1e-7 };
        let mut function = |point: &[f64], gradient: &mut [f64]| {
            let (smoothing, mut state, bounds) = coordinates.read(point);
            let passed = run(shape, smoothing, &mut state, &scaled.values, watch)?;
            let Some(passed) = passed else { return Ok(f64::INFINITY) };
            let end = likelihood(shape, &passed);
            let slopes = slopes(shape, smoothing, period, &passed, &end, watch)?;
            coordinates.gradient(bounds, &slopes, gradient);
            Ok(end.value)
        };
        // Near a bound the gradient fades slowly while nothing is gained any more.
        let (mut last, mut idle) = (f64::INFINITY, 0);
        let mut gaining = |_: usize, _: &[f64], value: f64| {
            idle = if last - value < GAIN_MIN { idle + 1 } else { 0 };
            last = value;
            Ok(idle < 3)
        };
        match minimise(from, &[], limits, &mut function, &mut gaining) {
            Ok(end) => Ok(Some(end)),
            Err(Refusal::Overflow(_)) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    };
    let mut found: Vec<Minimum> = Vec::new();
    for from in STARTS {
        found.extend(search(coordinates.point(from, &state), FIRST_ITERATIONS.min(iterations_max))?);
    }
    found.sort_by(|a, b| a.value.total_cmp(&b.value));
    let mut end: Option<Minimum> = None;
    for first in found.into_iter().take(KEPT_STARTS) {
        let last = search(first.at, iterations_max)?;
        end = end.into_iter().chain(last).min_by(|a, b| a.value.total_cmp(&b.value));
    }
    let Some(end) = end else { return Ok(None) };
    finish(&coordinates, &end.at, &scaled, watch)
}

fn finish(
    coordinates: &Coordinates,
    point: &[f64],
    scaled: &Scaled,
    watch: &dyn Watch,
) -> Result<Option<Ets>, Refusal> {
    let Coordinates { shape, period } = *coordinates;
    let (smoothing, start, _) = coordinates.read(point);
    let mut end = start.clone();
    let Some(passed) = run(shape, smoothing, &mut end, &scaled.values, watch)? else { return Ok(None) };
    let Likelihood { value, mean_square, observed } = likelihood(shape, &passed);
    let count = observed as f64;
    let parameters = shape.parameters(period);
    let unit = if shape.error == ErrorKind::Additive { scaled.scale.powi(2) } else { 1.0 };
    let log_likelihood = -0.5 * count * (value + (2.0 * std::f64::consts::PI).ln() + 1.0 + 2.0 * scaled.scale.ln());
    let k = parameters as f64 + 1.0;
    let small = if count > k + 1.0 { 2.0 * k * (k + 1.0) / (count - k - 1.0) } else { 1e6 };
    let unscale = |state: State| State {
        level: state.level * scaled.scale + scaled.shift,
        slope: state.slope * scaled.scale,
        seasonal: match shape.season {
            Season::None | Season::Additive => state.seasonal.iter().map(|value| value * scaled.scale).collect(),
            Season::Multiplicative => state.seasonal,
        },
    };
    if shape.has_season() {
        end.seasonal.rotate_left(scaled.values.len() % period);
    }
    let freedom = (observed.saturating_sub(parameters)).max(1) as f64;
    let model = Ets {
        shape,
        period,
        alpha: smoothing.alpha,
        beta: smoothing.beta,
        gamma: smoothing.gamma,
        phi: smoothing.phi,
        start: unscale(start),
        end: unscale(end),
        steps: scaled.values.len(),
        observed,
        variance: mean_square * count / freedom * unit,
        log_likelihood,
        aicc: -2.0 * log_likelihood + 2.0 * k + small,
    };
    Ok(Some(model).filter(|model| model.validate().is_ok() && model.aicc.is_finite()))
}

/// Starting states for the search: the mean seasonal differences from a line of the first periods, then a line through what they leave.
fn start(values: &[f64], shape: Shape, period: usize) -> State {
    let values = interpolate(values);
    let multiplicative = shape.season == Season::Multiplicative;
    let taken = values.len().min((4 * period).max(10));
    let part = &values[..taken];
    let (level, slope) = line(part);
    let mut seasonal = Vec::new();
    if shape.has_season() {
        let mut sums = vec![(0.0, 0.0); period];
        for (step, value) in part.iter().enumerate() {
            let base = level + slope * (step as f64 + 1.0);
            let place = &mut sums[step % period];
            place.0 += if multiplicative { value / base.abs().max(0.1) } else { value - base };
            place.1 += 1.0;
        }
        seasonal = sums.iter().map(|(sum, count)| sum / f64::max(*count, 1.0)).collect();
        let mean = seasonal.iter().sum::<f64>() / period as f64;
        seasonal.iter_mut().for_each(|value| {
            *value = if multiplicative { (*value / mean).clamp(0.05, 20.0) } else { *value - mean };
        });
        let sum: f64 = seasonal.iter().sum();
        if multiplicative {
            seasonal.iter_mut().for_each(|value| *value *= period as f64 / sum);
        }
    }
    let level = if shape.has_trend() { level } else { part.iter().sum::<f64>() / taken as f64 };
    let positive = shape.error == ErrorKind::Multiplicative || multiplicative;
    State {
        level: if positive { level.max(0.1) } else { level },
        slope: if !shape.has_trend() || (positive && level <= 0.1) { 0.0 } else { slope },
        seasonal,
    }
}

/// Level before the first step, and slope.
fn line(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let middle = (count + 1.0) / 2.0;
    let mean = values.iter().sum::<f64>() / count;
    let (mut along, mut squares) = (0.0, 0.0);
    for (step, value) in values.iter().enumerate() {
        let away = step as f64 + 1.0 - middle;
        along += away * (value - mean);
        squares += away * away;
    }
    let slope = if squares > 0.0 { along / squares } else { 0.0 };
    (mean - slope * middle, slope)
}

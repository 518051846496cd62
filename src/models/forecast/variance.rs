//! The variances of the steps ahead, in a time that grows with their number alone.

use super::recursion::Smoothing;
use super::{ErrorKind, Ets, Season};

/// What the squares of all earlier errors' effects come to, step by step.
///
/// An error has the effect `c` on the step that is `j` later: `c = alpha + beta (phi + … + phi^j)`, and `gamma` more where an additive
/// season comes round. As `c` and `d = phi^j` of the next step follow from those of this one, so do the sums of their products.
struct Past {
    smoothing: Smoothing,
    /// Sums of `c²`, `c d` and `d²`, each times the moment of its step.
    squares: f64,
    mixed: f64,
    dampings: f64,
    /// Of steps that lie whole seasons back: sums of `c`, `d` and 1. Empty without an additive season.
    seasons: Vec<[f64; 3]>,
    /// `phi + … + phi^period` and `phi^period`.
    season_slopes: f64,
    season_damping: f64,
    step: usize,
}

impl Past {
    fn new(model: &Ets) -> Self {
        let additive = model.shape.season == Season::Additive;
        let period = if additive { model.period.max(1) } else { 0 };
        let (mut season_slopes, mut season_damping) = (0.0, 1.0);
        for _ in 0..period {
            season_damping *= model.phi;
            season_slopes += season_damping;
        }
        let seasons = vec![[0.0; 3]; period];
        let smoothing = model.smoothing();
        Self { smoothing, squares: 0.0, mixed: 0.0, dampings: 0.0, seasons, season_slopes, season_damping, step: 0 }
    }

    fn spread(&mut self) -> f64 {
        let Smoothing { beta, gamma, phi, .. } = self.smoothing;
        let grown = beta * phi;
        self.squares += 2.0 * grown * self.mixed + grown * grown * self.dampings;
        self.mixed = phi * self.mixed + grown * phi * self.dampings;
        self.dampings *= phi * phi;
        let Some([effects, _, count]) = self.season() else { return self.squares };
        self.squares + 2.0 * gamma * effects + gamma * gamma * count
    }

    /// The sums of the steps that lie whole seasons back, brought to this one.
    fn season(&mut self) -> Option<[f64; 3]> {
        let place = self.step % self.seasons.len().max(1);
        let slot = self.seasons.get_mut(place)?;
        let [effects, dampings, count] = *slot;
        *slot = [effects + self.smoothing.beta * self.season_slopes * dampings, self.season_damping * dampings, count];
        Some(*slot)
    }

    /// The moment of the step whose spread was asked for.
    fn add(&mut self, moment: f64) {
        let alpha = self.smoothing.alpha;
        self.squares += alpha * alpha * moment;
        self.mixed += alpha * moment;
        self.dampings += moment;
        let place = self.step % self.seasons.len().max(1);
        if let Some([effects, dampings, count]) = self.seasons.get_mut(place) {
            *effects += alpha * moment;
            *dampings += moment;
            *count += moment;
        }
        self.step += 1;
    }
}

impl Ets {
    /// Hyndman and others (2008), chapter 6: exact for additive errors and for multiplicative ones with additive parts; with a multiplicative
    /// season their approximation (6.4), which takes the season's own changes for independent of the level's. Infinite from where the
    /// numbers end.
    pub(super) fn variances(&self, bases: &[f64], seasonals: &[f64]) -> Vec<f64> {
        let multiplicative = self.shape.season == Season::Multiplicative;
        let steps = bases.iter().zip(seasonals).enumerate();
        let mut past = Past::new(self);
        if self.shape.error == ErrorKind::Additive && !multiplicative {
            let moved = steps.map(|_| {
                let spread = past.spread();
                past.add(1.0);
                self.variance * (1.0 + spread)
            });
            return moved.collect();
        }
        let first = bases.first().zip(seasonals.first()).map_or(1.0, |(base, seasonal)| base * seasonal);
        // Relative errors. Additive errors on a multiplicative season are taken for relative ones of the same size now.
        let relative = match self.shape.error {
            ErrorKind::Multiplicative => self.variance,
            ErrorKind::Additive => self.variance / first.powi(2),
        };
        let period = self.period.max(1);
        let mut ended = false;
        steps
            .map(|(step, (base, seasonal))| {
                let mean = if multiplicative { *base } else { base + seasonal };
                let moment = mean * mean + relative * past.spread();
                past.add(moment);
                let variance = if multiplicative {
                    let turns = (1.0 + self.gamma * self.gamma * relative).powi((step / period) as i32);
                    seasonal.powi(2) * (moment * (1.0 + relative) * turns - mean * mean)
                } else {
                    moment * (1.0 + relative) - mean * mean
                };
                // Sums that are infinite make numbers that are none.
                ended |= !variance.is_finite();
                if ended { f64::INFINITY } else { variance.max(0.0) }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Shape, State, Trend};
    use super::*;

    /// The sums of the book, one for each step.
    fn by_definition(model: &Ets, bases: &[f64], seasonals: &[f64]) -> Vec<f64> {
        let multiplicative = model.shape.season == Season::Multiplicative;
        let effect = |later: usize| {
            let slope: f64 = (1..=later).map(|step| model.phi.powi(step as i32)).sum();
            let season = model.shape.season == Season::Additive && later.is_multiple_of(model.period);
            model.alpha + model.beta * slope + if season { model.gamma } else { 0.0 }
        };
        let additive = model.shape.error == ErrorKind::Additive;
        let relative = if additive { model.variance / (bases[0] * seasonals[0]).powi(2) } else { model.variance };
        let mut moments = Vec::new();
        let mut variances = Vec::new();
        for step in 0..bases.len() {
            let spread = |moment: &dyn Fn(usize) -> f64| -> f64 {
                (1..=step).map(|later| effect(later).powi(2) * moment(step - later)).sum()
            };
            if additive && !multiplicative {
                variances.push(model.variance * (1.0 + spread(&|_| 1.0)));
                continue;
            }
            let mean = bases[step] + if multiplicative { 0.0 } else { seasonals[step] };
            let moment = mean * mean + relative * spread(&|at| moments[at]);
            moments.push(moment);
            let turns = (1.0 + model.gamma.powi(2) * relative).powi((step / model.period) as i32);
            variances.push(if multiplicative {
                seasonals[step].powi(2) * (moment * (1.0 + relative) * turns - mean * mean)
            } else {
                moment * (1.0 + relative) - mean * mean
            });
        }
        variances
    }

    #[test]
    fn variances_are_those_of_the_sums() {
        for error in [ErrorKind::Additive, ErrorKind::Multiplicative] {
            for (trend, beta, phi) in [(Trend::None, 0.0, 1.0), (Trend::Additive, 0.1, 1.0), (Trend::Damped, 0.2, 0.9)]
            {
                for season in [Season::None, Season::Additive, Season::Multiplicative] {
                    let period = if season == Season::None { 1 } else { 4 };
                    let state = State { level: 10.0, slope: 0.1, seasonal: vec![1.0; period] };
                    let model = Ets {
                        shape: Shape { error, trend, season },
                        period,
                        alpha: 0.3,
                        beta,
                        gamma: if season == Season::None { 0.0 } else { 0.2 },
                        phi,
                        start: state.clone(),
                        end: state,
                        steps: 40,
                        observed: 40,
                        variance: 0.01,
                        log_likelihood: 0.0,
                        aicc: 0.0,
                    };
                    let bases: Vec<f64> = (0..40).map(|step| 10.0 + f64::from(step)).collect();
                    let seasonals: Vec<f64> = (0..40).map(|step| [0.8, 1.2, 0.9, 1.1][step % 4]).collect();
                    let found = model.variances(&bases, &seasonals);
                    let wanted = by_definition(&model, &bases, &seasonals);
                    assert_eq!(found.len(), wanted.len());
                    for (found, wanted) in found.iter().zip(&wanted) {
                        assert!((found / wanted - 1.0).abs() < 1e-9, "{} {found} {wanted}", model.shape.name());
                    }
                }
            }
        }
    }

    #[test]
    fn what_leaves_the_numbers_is_infinite() {
        let model = Ets {
            shape: Shape { error: ErrorKind::Multiplicative, trend: Trend::Additive, season: Season::None },
            period: 1,
            alpha: 0.9,
            beta: 0.8,
            gamma: 0.0,
            phi: 1.0,
            start: State { level: 1.0, slope: 0.0, seasonal: vec![] },
            end: State { level: 1.0, slope: 0.0, seasonal: vec![] },
            steps: 40,
            observed: 40,
            variance: 4.0,
            log_likelihood: 0.0,
            aicc: 0.0,
        };
        let variances = model.variances(&[1.0; 2_000], &[0.0; 2_000]);
        assert!(variances[0] == 4.0 && variances.iter().all(|variance| !variance.is_nan()));
        assert_eq!(variances.last(), Some(&f64::INFINITY));
    }
}

//! Airline passengers of 1949 to 1953 (Box and Jenkins), with statsmodels' answers.

use super::*;
use crate::models::watch::Unwatched;

const PASSENGERS: [f64; 60] = [
    112.0, 118.0, 132.0, 129.0, 121.0, 135.0, 148.0, 148.0, 136.0, 119.0, 104.0, 118.0, 115.0, 126.0, 141.0, 135.0,
    125.0, 149.0, 170.0, 170.0, 158.0, 133.0, 114.0, 140.0, 145.0, 150.0, 178.0, 163.0, 172.0, 178.0, 199.0, 199.0,
    184.0, 162.0, 146.0, 166.0, 171.0, 180.0, 193.0, 181.0, 183.0, 218.0, 230.0, 242.0, 209.0, 191.0, 172.0, 194.0,
    196.0, 196.0, 236.0, 235.0, 229.0, 243.0, 264.0, 272.0, 237.0, 211.0, 180.0, 201.0,
];

fn shaped(error: ErrorKind, trend: Trend, season: Season) -> ForecastOptions {
    let period = Period::Given(if season == Season::None { 1 } else { 12 });
    ForecastOptions {
        period,
        error: Some(error),
        trend: Some(trend),
        season: Some(season),
        ..ForecastOptions::default()
    }
}

/// What was expected of each step, and then of so many steps that have no value.
fn followed(model: &Ets, values: &[f64], ahead: usize) -> (Vec<Fitted>, Vec<f64>) {
    let mut following = model.following();
    let fitted = values.iter().map(|value| following.next(model, *value)).collect();
    (fitted, (0..ahead).map(|_| following.next(model, f64::NAN).expected).collect())
}

fn is_close(ahead: &[f64], forecast: &[Forecast]) -> bool {
    ahead.iter().zip(forecast).all(|(expected, forecast)| (expected / forecast.value - 1.0).abs() < 1e-8)
}

#[test]
fn likelihoods_are_those_of_statsmodels_or_higher() {
    for (options, least, forecast) in [
        (shaped(ErrorKind::Multiplicative, Trend::Damped, Season::Multiplicative), -185.652_135, 205.07),
        (shaped(ErrorKind::Multiplicative, Trend::Additive, Season::Additive), -192.330_861, 203.16),
        (shaped(ErrorKind::Additive, Trend::None, Season::None), -255.677_117, 201.0),
    ] {
        let model = Ets::fit(&PASSENGERS, &options, &Unwatched).unwrap();
        model.validate().unwrap();
        assert!(model.log_likelihood > least - 0.3, "{} {}", model.shape.name(), model.log_likelihood);
        let ahead = model.forecast(24, 0.95).unwrap();
        assert!((ahead[0].value / forecast - 1.0).abs() < 0.01, "{} {}", model.shape.name(), ahead[0].value);
        assert!(ahead.windows(2).all(|pair| pair[0].error <= pair[1].error * 1.3) && ahead[0].lower < ahead[0].value);
        let (fitted, next) = followed(&model, &PASSENGERS, 24);
        assert!(is_close(&next, &ahead) && fitted.len() == 60);
        let squares: f64 = fitted.iter().filter_map(|step| step.deviation).map(|deviation| deviation * deviation).sum();
        assert!((squares - (60 - model.shape.parameters(model.period)) as f64).abs() < 1e-6, "{squares}");
    }
}

#[test]
fn the_season_and_the_shape_are_found() {
    let options = ForecastOptions { period: Period::Among(vec![12]), ..ForecastOptions::default() };
    let model = Ets::fit(&PASSENGERS, &options, &Unwatched).unwrap();
    assert_eq!((model.period, model.shape.season), (12, Season::Multiplicative));
    let mut gaps = PASSENGERS;
    gaps[0] = f64::NAN;
    gaps[30] = f64::NAN;
    let with_gaps = Ets::fit(&gaps, &options, &Unwatched).unwrap();
    assert_eq!((with_gaps.observed, with_gaps.steps), (58, 59));
    let (fitted, next) = followed(&with_gaps, &gaps, 3);
    assert!(
        fitted[0].expected.is_nan()
            && fitted[30].deviation.is_none()
            && (fitted[30].expected / 199.0 - 1.0).abs() < 0.1
    );
    assert!(is_close(&next, &with_gaps.forecast(3, 0.8).unwrap()));
}

#[test]
fn odd_series_have_clear_results() {
    let fit = |values: &[f64]| Ets::fit(values, &ForecastOptions::default(), &Unwatched);
    assert_eq!(fit(&[1.0, f64::NAN]).unwrap_err(), Refusal::TooFewRows { rows: 1, needed: 3 });
    assert_eq!(fit(&[1.0, 2.0, f64::INFINITY]).unwrap_err(), Refusal::Infinite { column: "value".to_owned() });
    let constant = fit(&[5.0; 9]).unwrap();
    assert_eq!(constant.forecast(1, 0.9).unwrap()[0], Forecast { value: 5.0, error: 0.0, lower: 5.0, upper: 5.0 });
    let line: Vec<f64> = (0..20).map(f64::from).collect();
    assert!((fit(&line).unwrap().forecast(2, 0.9).unwrap()[1].value - 21.0).abs() < 1e-6);
    assert!(constant.forecast(1, 1.0).is_err() && constant.forecast(predict::HORIZON_MAX + 1, 0.5).is_err());
    let too_long = ForecastOptions { period: Period::Given(7), ..ForecastOptions::default() };
    assert!(matches!(Ets::fit(&line[..10], &too_long, &Unwatched), Err(Refusal::Option { .. })));
    let without = ForecastOptions { season: Some(Season::None), ..too_long };
    assert_eq!(Ets::fit(&line[..10], &without, &Unwatched).unwrap().period, 1);
    let all = [(line.as_slice(), ForecastOptions::default()), (&[1.0], ForecastOptions::default())];
    let both = Ets::fit_all(&all, 2, &Unwatched).unwrap();
    assert!(both[0].is_ok() && both[1].is_err());
    let mut damaged = constant;
    damaged.end.seasonal.push(1.0);
    assert!(matches!(damaged.validate(), Err(Refusal::Damaged(_))));
}

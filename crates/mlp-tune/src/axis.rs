//! Numeric domains as intervals on which values are spread evenly.

use mlp_core::random::{self, ChaCha8Rng};
use mlp_core::{Domain, ParamValue, Scale};

/// The interval behind a numeric domain: logarithms where the scale is one, half a step added at each end where there are steps, so that
/// every value of a grid has the same share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) step: Option<f64>,
    first: f64,
    last: f64,
    log: bool,
    is_int: bool,
}

impl Axis {
    /// The axis of a domain; none for a categorical one.
    pub(crate) fn of(domain: &Domain) -> Option<Self> {
        let (first, last, scale, step, is_int) = match domain {
            Domain::Float { low, high, scale, step } => (*low, *high, *scale, *step, false),
            Domain::Int { low, high, scale, step } => {
                (*low as f64, *high as f64, *scale, Some(*step as f64), true)
            }
            _ => return None,
        };
        let log = scale == Scale::Log;
        let last = step
            .map_or(last, |step| first + ((last - first) / step * (1.0 + 1e-12)).floor() * step);
        let half = step.map_or(0.0, |step| step / 2.0);
        let place = |value: f64| if log { value.ln() } else { value };
        let (low, high) = (place(first - half), place(last + half));
        Some(Self { low, high, step, first, last, log, is_int })
    }

    pub(crate) fn range(&self) -> f64 {
        self.high - self.low
    }

    /// Where a value lies on the axis; none if it is no number or lies outside. What lies outside by rounding lies at the end: three steps of 0.3
    /// are 0.8999999999999999 here and 0.9 to Optuna, or to whoever types the last value of a grid.
    pub(crate) fn encode(&self, value: &ParamValue) -> Option<f64> {
        let slack = self.step.map_or(0.0, |step| step * 1e-6);
        let is_near = |v: &f64| (self.first - slack..=self.last + slack).contains(v);
        let value = value.as_float().filter(is_near)?.clamp(self.first, self.last);
        Some(if self.log { value.ln() } else { value })
    }

    /// The value nearest to a place on the axis.
    pub(crate) fn decode(&self, place: f64) -> ParamValue {
        let raw = if self.log { place.exp() } else { place };
        let value = match self.step {
            Some(step) => self.first + ((raw - self.first) / step).round_ties_even() * step,
            None => raw,
        };
        let value = value.clamp(self.first, self.last);
        if self.is_int { ParamValue::Int(value as i64) } else { ParamValue::Float(value) }
    }

    /// The place of the value nearest to a place: the place itself on a continuum, up to rounding.
    pub(crate) fn settle(&self, place: f64) -> f64 {
        self.encode(&self.decode(place)).unwrap_or(place)
    }

    /// The borders to the cells below and above the one around a share of the range, as shares; none where there is no such cell.
    pub(crate) fn borders(&self, share: f64) -> (Option<f64>, Option<f64>) {
        let place = self.settle(self.low + share * self.range());
        let Some((low, high)) = self.cell(place) else { return (None, None) };
        let share = |place: f64| Some((place - self.low) / self.range());
        // The outermost borders are the ends of the range, up to rounding.
        let inside = |share: &f64| *share > 1e-12 && *share < 1.0 - 1e-12;
        (share(low).filter(inside), share(high).filter(inside))
    }

    /// The places of the cell around a grid value, for a place that [`encode`](Self::encode) returned.
    pub(crate) fn cell(&self, place: f64) -> Option<(f64, f64)> {
        let half = self.step? / 2.0;
        if self.log {
            let value = place.exp();
            Some(((value - half).ln(), (value + half).ln()))
        } else {
            Some((place - half, place + half))
        }
    }
}

/// Where a value lies on the axis of its domain, or which of the choices it is; none if it is none of the domain's.
pub(crate) fn encode(domain: &Domain, value: &ParamValue) -> Option<f64> {
    match domain {
        Domain::Categorical { choices } => {
            choices.iter().position(|choice| choice == value).map(|place| place as f64)
        }
        _ => Axis::of(domain)?.encode(value),
    }
}

/// A value of a domain as the domain itself has it: the number of the grid that it is up to rounding. What lies outside stays as it is.
pub(crate) fn settled(domain: &Domain, value: &ParamValue) -> ParamValue {
    match domain {
        Domain::Float { step: Some(_), .. } if domain.contains(value) => {
            encode(domain, value).map_or_else(|| value.clone(), |place| decode(domain, place))
        }
        _ => value.clone(),
    }
}

/// The value at a place that [`encode`] returns, or nearest to it.
pub(crate) fn decode(domain: &Domain, place: f64) -> ParamValue {
    match (domain, Axis::of(domain)) {
        (_, Some(axis)) => axis.decode(place),
        (Domain::Categorical { choices }, None) => choices[place as usize].clone(),
        _ => unreachable!("a domain without an axis is categorical"),
    }
}

/// How many values a domain may have to be listed: beyond that the list alone takes hundreds of megabytes.
pub(crate) const MAX_VALUES: u64 = 1_000_000;

/// All values of a domain, in their order; none if they have no end, or are too many to list.
pub(crate) fn values(domain: &Domain) -> Option<Vec<ParamValue>> {
    let count = domain.cardinality().filter(|count| *count <= MAX_VALUES);
    Some(match domain {
        Domain::Categorical { choices } => choices.clone(),
        Domain::Int { low, high, step, .. } => {
            count?;
            (*low..=*high).step_by(usize::try_from(*step).ok()?).map(Into::into).collect()
        }
        Domain::Float { low, high, step, .. } => match step {
            Some(step) => (0..count?).map(|k| (low + k as f64 * step).into()).collect(),
            None if low == high => vec![(*low).into()],
            None => return None,
        },
        _ => return None,
    })
}

/// A value spread evenly over a domain.
pub(crate) fn uniform(domain: &Domain, stream: &mut ChaCha8Rng) -> ParamValue {
    if let Domain::Categorical { choices } = domain {
        return choices[random::below(stream, choices.len() as u64) as usize].clone();
    }
    let share = random::uniform(stream);
    at_share(domain, share)
}

/// The value below which this share of the domain lies.
pub(crate) fn at_share(domain: &Domain, share: f64) -> ParamValue {
    match (Axis::of(domain), domain) {
        (Some(axis), _) => axis.decode(axis.low + share * axis.range()),
        (None, Domain::Categorical { choices }) => {
            choices[((share * choices.len() as f64) as usize).min(choices.len() - 1)].clone()
        }
        _ => unreachable!("a domain without an axis is categorical"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::Dimension;

    #[test]
    fn the_last_value_of_a_grid_is_its_last_whole_step() {
        let last = |dimension: Dimension| Axis::of(&dimension.domain).unwrap().last;
        assert_eq!(last(Dimension::stepped_int("n", 1, 10, 4)), 9.0);
        assert!((last(Dimension::stepped_float("x", 0.0, 1.0, 0.3)) - 0.9).abs() < 1e-12);
    }

    #[test]
    fn the_last_value_of_a_grid_as_a_decimal_is_on_its_axis() {
        for (low, high, step) in [(0.0, 1.0, 0.3), (0.1, 0.7, 0.1), (-0.6, 0.3, 0.1)] {
            let axis = Axis::of(&Dimension::stepped_float("x", low, high, step).domain).unwrap();
            let last = ((high - low) / step * (1.0 + 1e-12)).floor();
            for value in [format!("{:.3}", low + last * step), format!("{low:.3}")] {
                let value: f64 = value.parse().unwrap();
                let place = axis.encode(&value.into()).unwrap();
                assert!((place - value).abs() < 1e-9 && axis.decode(place).as_float().is_some());
            }
            assert_eq!(axis.encode(&(low + (last + 0.5) * step).into()), None);
            assert_eq!(axis.encode(&(low - 0.5 * step).into()), None);
        }
    }

    #[test]
    fn every_place_decodes_into_the_domain_and_back() {
        for dimension in [
            Dimension::float("x", -1.0, 3.0),
            Dimension::log_float("x", 1e-5, 1.0),
            Dimension::stepped_float("x", 0.0, 1.0, 0.3),
            Dimension::int("x", -3, 3),
            Dimension::log_int("x", 1, 1000),
        ] {
            let domain = dimension.domain;
            let axis = Axis::of(&domain).unwrap();
            for share in 0..=100 {
                let value = at_share(&domain, f64::from(share) / 100.0);
                assert!(domain.contains(&value), "{value} of {domain:?}");
                let place = axis.encode(&value).unwrap();
                let again = axis.decode(place).as_float().unwrap();
                assert!((again - value.as_float().unwrap()).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn the_cells_of_integers_border_halfway_between_them_on_either_scale() {
        let borders =
            |dimension: Dimension, share| Axis::of(&dimension.domain).unwrap().borders(share);
        let (low, high) = borders(Dimension::int("n", 0, 9), 0.55);
        assert!((low.unwrap() - 0.5).abs() < 1e-12 && (high.unwrap() - 0.6).abs() < 1e-12);
        assert_eq!(borders(Dimension::int("n", 0, 9), 0.05).0, None);
        assert_eq!(borders(Dimension::log_int("n", 1, 4), 0.99).1, None);
        let (low, high) = borders(Dimension::log_int("n", 1, 4), 0.6);
        // Between 1.5 and 2.5 on the logarithms of 0.5 to 4.5.
        assert!((low.unwrap() - 3_f64.ln() / 9_f64.ln()).abs() < 1e-12);
        assert!((high.unwrap() - 5_f64.ln() / 9_f64.ln()).abs() < 1e-12);
        assert_eq!(borders(Dimension::float("x", 0.0, 1.0), 0.5), (None, None));
        assert_eq!(borders(Dimension::stepped_float("x", 0.0, 0.1, 0.2), 0.5), (None, None));
    }

    #[test]
    fn integers_have_equal_shares() {
        let domain = Dimension::int("n", 0, 3).domain;
        let mut stream = random::stream(1, 0);
        let mut counts = [0; 4];
        for _ in 0..40_000 {
            let ParamValue::Int(value) = uniform(&domain, &mut stream) else { panic!() };
            counts[value as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
    }
}

//! Summaries of series as words of a card, exactly.

use mlp_core::Timestamp;
use mlp_eval::{MetricPoint, SeriesKey, SeriesSummary};

use crate::cards::Words;

/// Of a single point only the point: the rest is implied.
pub(super) fn encode(summary: &SeriesSummary) -> Words {
    let point =
        |point: MetricPoint| [point.step, point.at.as_micros(), point.value.to_bits() as i64];
    let last = point(summary.last);
    let fixed = [summary.sum.to_bits() as i64, summary.count as i64, summary.nan_count as i64];
    match (summary.count, summary.min, summary.max) {
        (1, ..) => Words::of([last]),
        (_, Some(min), Some(max)) => Words::of([last, fixed, point(min), point(max)]),
        _ => Words::of([last, fixed]),
    }
}

pub(super) fn decode(key: SeriesKey, words: &Words) -> SeriesSummary {
    let words = words.as_slice();
    let point = |from: usize| {
        let value = f64::from_bits(words[from + 2] as u64);
        MetricPoint::new(words[from], Timestamp::from_micros(words[from + 1]), value)
    };
    let mut summary = SeriesSummary::first(key, point(0));
    if words.len() > 3 {
        summary.sum = f64::from_bits(words[3] as u64);
        summary.count = words[4] as u64;
        summary.nan_count = words[5] as u64;
        let has_extremes = words.len() == 12;
        summary.min = has_extremes.then(|| point(6));
        summary.max = has_extremes.then(|| point(9));
    }
    summary
}

/// The latest value, without the rest.
pub(super) fn last(words: &Words) -> f64 {
    f64::from_bits(words.as_slice()[2] as u64)
}

/// How many points there are, without the rest.
pub(super) fn count(words: &Words) -> i64 {
    words.as_slice().get(4).copied().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_reads_back_exactly_with_and_without_extremes() {
        let at = Timestamp::from_micros;
        let same = |summary: &SeriesSummary| {
            let words = encode(summary);
            assert_eq!(format!("{:?}", decode("m".into(), &words)), format!("{summary:?}"));
            assert_eq!(count(&words), summary.count as i64);
            assert_eq!(last(&words).to_bits(), summary.last.value.to_bits());
            words.as_slice().len()
        };
        let mut summary = SeriesSummary::first("m".into(), MetricPoint::new(-3, at(9), f64::NAN));
        assert_eq!(same(&summary), 3);
        summary.add(MetricPoint::new(-4, at(9), f64::NAN));
        assert_eq!(same(&summary), 6);
        summary.add(MetricPoint::new(2, at(10), -0.0));
        summary.add(MetricPoint::new(3, at(11), 7.0));
        assert_eq!(same(&summary), 12);
        assert_eq!(same(&SeriesSummary::first("m".into(), MetricPoint::new(0, at(1), -0.0))), 3);
    }
}

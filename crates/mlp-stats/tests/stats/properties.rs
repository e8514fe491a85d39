//! What must hold for any input.

use mlp_stats::{
    Adwin, AdwinConfig, Alternative, AndersonDarlingVariant, Average, BinaryScores, Bootstrap,
    ClassScores, Confusion, Correction, CountStatistic, DriftDetector, KsMethod, LabelScore,
    MannWhitneyMethod, Moments, PageHinkley, PageHinkleyConfig, Pairing, Proportion,
    QuantileSketch, RateEvidence, ReferenceBins, RegressionScores, ZeroDivision,
    anderson_darling_k_sample, count_test, fisher_exact, hodges_lehmann_shift, jensen_shannon,
    ks_two_sample_with, mann_whitney_with, robust_scale, wasserstein, welch_t_test,
};
use proptest::prelude::*;

/// Ordinary values, ties, and everything that is no ordinary value.
fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![6 => (-3_i8..3).prop_map(f64::from), 1 => any::<f64>()]
}

fn any_sample() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(any_value(), 0..24)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs().max(1.0)
}

proptest! {
    #[test]
    fn no_input_of_any_value_panics(first in any_sample(), second in any_sample(), flags in prop::collection::vec(any::<bool>(), 0..24), weights in any_sample(), at in any::<f64>()) {
        for alternative in [Alternative::TwoSided, Alternative::Less, Alternative::Greater] {
            for method in [KsMethod::Auto, KsMethod::Exact, KsMethod::Asymptotic] {
                if let Ok(test) = ks_two_sample_with(&first, &second, alternative, method) {
                    prop_assert!((0.0..=1.0).contains(&test.p_value) && (0.0..=1.0).contains(&test.statistic));
                }
            }
            for method in [MannWhitneyMethod::Auto, MannWhitneyMethod::Exact, MannWhitneyMethod::Asymptotic { continuity: true }] {
                if let Ok(test) = mann_whitney_with(&first, &second, alternative, method) {
                    prop_assert!((0.0..=1.0).contains(&test.p_value));
                }
            }
            if let Ok(test) = welch_t_test(&first, &second) {
                let p = test.p_value(alternative);
                prop_assert!((0.0..=1.0).contains(&p), "{:?} {}", test, p);
            }
        }
        for variant in [AndersonDarlingVariant::Midrank, AndersonDarlingVariant::Right] {
            let _ = anderson_darling_k_sample(&[&first, &second], variant);
        }
        let number = |value: Result<f64, mlp_stats::StatsError>| value.map_or(true, |value| !value.is_nan());
        prop_assert!(number(hodges_lehmann_shift(&first, &second)) && number(wasserstein(&first, &second)));
        prop_assert!(robust_scale(&first).is_none_or(|scale| !scale.median.is_nan() && !scale.mad.is_nan()));
        prop_assert!(number(jensen_shannon(&first, &second).map(|apart| apart.divergence)));
        let _ = Correction::Holm.adjust(&first);
        if let Ok(bins) = ReferenceBins::new(&first, 10) {
            let _ = bins.psi(&second);
        }
        let rows = RegressionScores::new(&first, &second).and_then(|rows| rows.weighted(&weights).or(Ok(rows)));
        if let Ok(rows) = rows {
            for score in [rows.r2(), rows.explained_variance(), rows.mean_squared_error(), rows.median_absolute_error(), rows.max_error(), rows.mean_absolute_percentage_error(), rows.mean_squared_log_error(), rows.pinball(at), rows.d2_pinball(at), rows.d2_absolute_error()] {
                prop_assert!(number(score.clone()), "{:?}", score);
            }
        }
        let rows = BinaryScores::new(&flags, &first).and_then(|rows| rows.weighted(&weights).or(Ok(rows)));
        if let Ok(rows) = rows {
            let _ = (rows.roc_auc(), rows.roc_curve(), rows.average_precision(), rows.log_loss(), rows.brier(), rows.reliability(10), rows.top_label_reliability(3));
        }
        let labels: Vec<usize> = first.iter().map(|value| *value as usize).collect();
        let predicted: Vec<usize> = second.iter().map(|value| *value as usize).collect();
        if let Ok(confusion) = Confusion::of(&labels, &predicted, 3) {
            for score in [confusion.accuracy(), confusion.matthews_correlation(), confusion.cohen_kappa(), confusion.quadratic_kappa(), confusion.average(LabelScore::FBeta(at), Average::Weighted, ZeroDivision::Skip)] {
                prop_assert!(number(score.clone()), "{:?}", score);
            }
        }
        if let Ok(rows) = ClassScores::new(&labels, &second, 3) {
            for score in [rows.log_loss(), rows.brier(), rows.top_k_accuracy(2), rows.roc_auc(Pairing::OneVsOne, Average::Macro)] {
                prop_assert!(number(score.clone()), "{:?}", score);
            }
        }
        let _ = Bootstrap::new(1).with_resamples(5).unwrap().draw(first.len(), |rows| rows.iter().map(|row| first[*row]).sum());
    }

    #[test]
    fn counts_of_any_size_have_a_p_value(counts in prop::collection::vec((0_u64..1_000_000, 0_u64..1_000_000), 0..6), k in 0_u64..2_000, n in 1_u64..2_000, l in 0_u64..2_000, m in 1_u64..2_000) {
        let (first, second): (Vec<u64>, Vec<u64>) = counts.into_iter().unzip();
        for statistic in [CountStatistic::Pearson, CountStatistic::PearsonYates, CountStatistic::LikelihoodRatio] {
            if let Ok(test) = count_test(&first, &second, statistic) {
                prop_assert!((0.0..=1.0).contains(&test.p_value), "{:?}", test);
            }
        }
        let (first, second) = (Proportion::new(k.min(n), n).unwrap(), Proportion::new(l.min(m), m).unwrap());
        let less = fisher_exact(first, second, Alternative::Less);
        let greater = fisher_exact(first, second, Alternative::Greater);
        prop_assert!(less + greater >= 1.0 - 1e-9 && less <= 1.0 && greater <= 1.0);
        let (wilson, exact) = (first.wilson(0.95).unwrap(), first.clopper_pearson(0.95).unwrap());
        prop_assert!(exact.lower <= first.share() && first.share() <= exact.upper);
        prop_assert!(wilson.lower <= first.share() && first.share() <= wilson.upper);
    }

    #[test]
    fn permuting_rows_changes_no_score(rows in prop::collection::vec((0_usize..3, 0_usize..3, -5.0..5.0_f64, -5.0..5.0_f64, 0.0..3.0_f64), 2..40), rotation in 0_usize..40) {
        let mut moved = rows.clone();
        moved.rotate_left(rotation % rows.len());
        moved.reverse();
        let scores = |rows: &[(usize, usize, f64, f64, f64)]| -> Vec<Option<f64>> {
            let truth: Vec<usize> = rows.iter().map(|row| row.0).collect();
            let predicted: Vec<usize> = rows.iter().map(|row| row.1).collect();
            let (x, y): (Vec<f64>, Vec<f64>) = rows.iter().map(|row| (row.2, row.3)).unzip();
            let weights: Vec<f64> = rows.iter().map(|row| row.4).collect();
            let positive: Vec<bool> = truth.iter().map(|label| *label == 1).collect();
            let shares: Vec<f64> = x.iter().map(|value| (value + 5.0) / 10.0).collect();
            let confusion = Confusion::weighted(&truth, &predicted, &weights, 3).unwrap();
            let regression = RegressionScores::new(&x, &y).unwrap().weighted(&weights).unwrap();
            let binary = BinaryScores::new(&positive, &shares).unwrap().weighted(&weights).unwrap();
            vec![
                confusion.accuracy(), confusion.matthews_correlation(), confusion.cohen_kappa(), confusion.balanced_accuracy(),
                confusion.average(LabelScore::F1, Average::Macro, ZeroDivision::Value(0.0)),
                regression.r2(), regression.mean_absolute_error(), regression.d2_pinball(0.3), regression.median_absolute_error(),
                binary.roc_auc(), binary.average_precision(), binary.log_loss(), binary.brier(), binary.reliability(5).map(|r| r.expected_error()),
            ].into_iter().map(Result::ok).collect()
        };
        for (before, after) in scores(&rows).into_iter().zip(scores(&moved)) {
            prop_assert_eq!(before.is_some(), after.is_some());
            if let (Some(before), Some(after)) = (before, after) {
                prop_assert!(close(before, after), "{} and {}", before, after);
            }
        }
    }

    #[test]
    fn merged_states_are_the_state_of_all(values in prop::collection::vec(-1e6..1e6_f64, 0..200), cut in 0_usize..200) {
        let cut = cut.min(values.len());
        let moments = |values: &[f64]| {
            let mut moments = Moments::default();
            values.iter().for_each(|value| moments.add(*value));
            moments
        };
        let (mut parts, all) = (moments(&values[..cut]), moments(&values));
        parts.merge(&moments(&values[cut..]));
        prop_assert_eq!(parts.count(), all.count());
        if let (Some(a), Some(b)) = (parts.mean(), all.mean()) {
            prop_assert!((a - b).abs() <= 1e-9 * 1e6);
            let (a, b) = (parts.variance().unwrap(), all.variance().unwrap());
            prop_assert!((a - b).abs() <= 1e-9 * b.max(1.0), "{} and {}", a, b);
        }
        let sketch = |values: &[f64]| {
            let mut sketch = QuantileSketch::new(0.01).unwrap();
            values.iter().for_each(|value| sketch.add(*value));
            sketch
        };
        let (mut parts, all) = (sketch(&values[..cut]), sketch(&values));
        parts.merge(&sketch(&values[cut..])).unwrap();
        for p in [0.0, 0.1, 0.5, 0.99, 1.0] {
            prop_assert_eq!(parts.quantile(p).ok(), all.quantile(p).ok());
        }
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        if let Ok(median) = all.quantile(0.5) {
            let near = |true_value: f64| (median - true_value).abs() <= 0.01 * true_value.abs() + 1e-9;
            let middle = (sorted.len() - 1) / 2;
            prop_assert!(sorted[middle.saturating_sub(1)..=(middle + 1).min(sorted.len() - 1)].iter().any(|value| near(*value)));
        }
        let evidence = |values: &[f64]| {
            let mut evidence = RateEvidence::new(0.1).unwrap();
            values.iter().for_each(|value| evidence.record(*value > 5e5));
            evidence
        };
        let mut parts = evidence(&values[..cut]);
        parts.merge(&evidence(&values[cut..]));
        prop_assert_eq!(parts, evidence(&values));
    }

    #[test]
    fn a_stored_state_is_the_same_to_the_last_bit(values in prop::collection::vec(any::<f64>(), 0..80)) {
        let mut moments = Moments::default();
        let mut sketch = QuantileSketch::new(0.02).unwrap();
        let mut adwin = Adwin::new(AdwinConfig { clock: 1, ..AdwinConfig::default() }).unwrap();
        let mut test = PageHinkley::new(PageHinkleyConfig::default()).unwrap();
        for value in values {
            moments.add(value);
            sketch.add(value);
            let _ = (adwin.update(value), test.update(value));
        }
        fn stored<T: serde::Serialize + serde::de::DeserializeOwned>(state: &T) -> (String, String) {
            let text = serde_json::to_string(state).unwrap();
            let again: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            (serde_json::to_string(&again).unwrap(), text)
        }
        for (again, text) in [stored(&moments), stored(&sketch), stored(&adwin), stored(&test)] {
            prop_assert_eq!(again, text);
        }
    }
}

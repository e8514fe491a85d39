//! Inputs at the ends of what can be asked: huge, tiny, tampered with.

use std::time::{Duration, Instant};

use mlp_stats::{
    Alternative, BinaryScores, CanaryEvidence, ClassScores, Confusion, CountStatistic, HoltWinters,
    Kswin, MannWhitneyMethod, MeanDifferenceEvidence, Moments, Proportion, QuantileSketch,
    RateEvidence, RatePrior, ReferenceBins, RegressionScores, Season, Smoothing, SprtPlan,
    SprtState, StatsError, Undefined, chi_square_goodness_of_fit, chi_squared_tail, count_test,
    fisher_exact, jensen_shannon, ks_two_sample, ks_two_sample_with, mann_whitney,
    mann_whitney_with, normed_wasserstein, r2, robust_scale, student_t_tail, welch_t_test,
};

/// How long this thread has had a processor, which nobody else on the machine makes longer; where the system does not tell, how long it is
/// since then.
fn worked(since: Instant) -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    nanoseconds.map_or_else(|| since.elapsed(), Duration::from_nanos)
}

/// Whatever is asked, an answer takes little work.
fn soon<T>(what: &str, ask: impl FnOnce() -> T) -> T {
    let since = Instant::now();
    let start = worked(since);
    let answer = ask();
    let taken = worked(since) - start;
    assert!(taken < Duration::from_secs(8), "{what} took {taken:?}");
    answer
}

#[test]
fn huge_requests_are_answered_or_refused_soon() {
    let confusion = Confusion::of(&[0, 1], &[0, 0], 1_000).unwrap();
    assert_eq!(soon("κ of 1,000 classes", || confusion.cohen_kappa()), Ok(0.0));
    assert!(ReferenceBins::new(&[1.0], usize::MAX).is_err());
    let smoothing = Smoothing::default();
    let model = HoltWinters::new(Season::Additive, smoothing, 1.0, 0.0, vec![1.0, 2.0]).unwrap();
    assert!(model.forecast(usize::MAX).is_finite());
    let history = HoltWinters::from_history(Season::Additive, smoothing, usize::MAX, &[1.0; 9]);
    assert!(history.is_err());
    let ramp = |n: usize| (0..n).map(|i| i as f64).collect::<Vec<_>>();
    let (first, second) = (ramp(100_000), ramp(99_999));
    let exact = soon("exact KS", || {
        ks_two_sample_with(&first, &second, Alternative::TwoSided, mlp_stats::KsMethod::Exact)
    });
    assert!(matches!(exact, Err(StatsError::Limit { .. })), "{exact:?}");
    let exact = soon("exact U", || {
        mann_whitney_with(
            &first[..3_000],
            &second[..3_000],
            Alternative::Less,
            MannWhitneyMethod::Exact,
        )
    });
    assert!(exact.is_err());
    let (few, many) = ([0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5], ramp(1_250_001));
    assert!(mann_whitney(&few, &many).unwrap().p_value < 1e-4);
    let constant = vec![3.0; 1_689_754 - 20];
    assert_eq!(mann_whitney(&[3.0; 20], &constant).unwrap().p_value, 1.0);
    let half = Proportion::new(1 << 40, 1 << 41).unwrap();
    assert!(soon("Fisher", || fisher_exact(half, half, Alternative::TwoSided)) > 0.999);
    let tail = soon("χ²", || chi_squared_tail(2e18 - 2e6, 2e18));
    assert!((0.5..0.6).contains(&tail), "{tail}");
    let shifted: Vec<f64> = (0..300_000).map(|i| f64::from(i) + 2_000.0).collect();
    assert!(
        soon("KS far from equal", || ks_two_sample(&ramp(300_000), &shifted)).unwrap().p_value
            < 1e-4
    );
}

#[test]
fn stored_states_that_cannot_be_are_refused() {
    fn refused<T: serde::de::DeserializeOwned>(text: &str) {
        assert!(serde_json::from_str::<T>(text).is_err(), "{text}");
    }
    refused::<Confusion>(r#"{"classes":3,"counts":[]}"#);
    refused::<Confusion>(r#"{"classes":1,"counts":[-1]}"#);
    let smoothing = r#"{"level":0.3,"trend":0.1,"season":0.1}"#;
    refused::<HoltWinters>(&format!(
        r#"{{"kind":"additive","smoothing":{smoothing},"level":1,"trend":0,"seasonal":[],"place":0}}"#
    ));
    refused::<HoltWinters>(&format!(
        r#"{{"kind":"additive","smoothing":{smoothing},"level":1,"trend":0,"seasonal":[1,2],"place":2}}"#
    ));
    refused::<Kswin>(
        r#"{"config":{"alpha":0.01,"window_size":10,"stat_size":30,"seed":0},"window":[],"draws":0,"is_drift":false}"#,
    );
    refused::<Proportion>(r#"{"events":3,"trials":2}"#);
    refused::<RatePrior>(r#"{"a":-1,"b":1}"#);
    refused::<RateEvidence>(
        r#"{"bound":2,"events":0,"trials":0,"hypothesis":"at_most","prior":{"a":1,"b":1}}"#,
    );
    let mut state = SprtPlan::new(0.01, 0.05, 0.01, 0.05).unwrap().start();
    state.record(true);
    let text = serde_json::to_string(&state).unwrap().replace("\"events\":1", "\"events\":9");
    refused::<SprtState>(&text);
}

#[test]
fn rows_without_weight_do_not_hide_a_constant_truth() {
    let rows = RegressionScores::new(&[0.1, 5.0], &[0.2, 5.0]).unwrap();
    let reason = rows.weighted(&[0.1, 0.0]).unwrap().r2().unwrap_err().undefined_reason();
    assert_eq!(reason, Some(Undefined::TooFew { have: 1, need: 2 }));
    let rows = RegressionScores::new(&[0.1, 0.1, 5.0], &[0.2, 0.1, 5.0]).unwrap();
    let reason = rows.weighted(&[0.1, 1.0, 0.0]).unwrap().r2().unwrap_err().undefined_reason();
    assert_eq!(reason, Some(Undefined::ConstantTruth { perfect: false }));
}

#[test]
fn what_no_double_can_hold_is_an_error() {
    let overflows = |result: Result<f64, StatsError>| {
        assert!(matches!(result, Err(StatsError::Overflow { .. })), "{result:?}");
    };
    overflows(r2(&[1e200, -1e200], &[0.0, 0.0]));
    overflows(welch_t_test(&[1e308, 1.5e308], &[1e308, 1.7e308]).map(|test| test.t));
    overflows(welch_t_test(&[1e-200, 2e-200], &[3e-200, 4e-200]).map(|test| test.t));
    overflows(jensen_shannon(&[1e308, 1e308, 0.0], &[0.0, 1e308, 1e308]).map(|a| a.divergence));
    let confusion = Confusion::weighted(&[0, 1], &[1, 0], &[1e99, 1e99], 2).unwrap();
    assert_eq!((confusion.cohen_kappa(), confusion.matthews_correlation()), (Ok(-1.0), Ok(-1.0)));
    assert!(Confusion::weighted(&[0], &[0], &[1e200], 1).is_err());
    let mut moments = Moments::default();
    [1e308, -1e308, 2.0].into_iter().for_each(|value| moments.add(value));
    assert_eq!((moments.count(), moments.left_out(), moments.mean()), (1, 2, Some(2.0)));
    let mut model =
        HoltWinters::new(Season::Multiplicative, Smoothing::default(), 1.0, -1.0, vec![1.0, 1.0])
            .unwrap();
    (0..10).for_each(|_| model.update(1.0));
    assert!(model.forecast(0).is_finite());
    assert!((student_t_tail(1.0, f64::INFINITY) - mlp_stats::normal_tail(1.0)).abs() < 1e-15);
    assert_eq!(chi_squared_tail(1.0, 0.0), 0.0);
}

#[test]
fn errors_and_spreads_beyond_a_double_are_errors() {
    let overflows = |result: Result<f64, StatsError>| {
        assert!(matches!(result, Err(StatsError::Overflow { .. })), "{result:?}");
    };
    let far: Vec<f64> = (0..20).map(|i| if i % 2 == 0 { 1e160 } else { -1e160 }).collect();
    overflows(normed_wasserstein(&far, &[0.0; 20]));
    let rows = RegressionScores::new(&[f64::MAX, f64::MAX], &[f64::MIN, f64::MIN]).unwrap();
    overflows(rows.max_error());
    overflows(rows.median_absolute_error());
    let rows = RegressionScores::new(&[f64::MAX, 1.0], &[f64::MAX, 3.0]).unwrap();
    assert_eq!((rows.max_error(), rows.median_absolute_error()), (Ok(2.0), Ok(1.0)));
}

#[test]
fn bins_of_the_largest_doubles_can_be_filled_and_stored() {
    let stored = |bins: &ReferenceBins| {
        let text = serde_json::to_string(bins).unwrap();
        let again: ReferenceBins = serde_json::from_str(&text).unwrap();
        assert_eq!(&again, bins, "{text}");
    };
    let ends = [f64::MIN, f64::MAX];
    let bins = ReferenceBins::new(&ends, 10).unwrap();
    stored(&bins);
    assert_eq!(bins.counts().iter().sum::<u64>(), 2);
    assert_eq!(bins.psi(&ends).unwrap().value, 0.0);
    assert!(bins.psi(&[0.0; 9]).unwrap().value > 1.0);
    let mostly: Vec<f64> = (0..100).map(|i| if i < 50 { f64::from(i) } else { f64::MAX }).collect();
    let bins = ReferenceBins::new(&mostly, 10).unwrap();
    stored(&bins);
    assert_eq!(bins.counts()[bins.counts().len() - 1], 50);
    stored(&ReferenceBins::new(&[f64::MIN; 9], 10).unwrap());
}

#[test]
fn infinite_values_have_no_place_in_the_middle() {
    assert_eq!(robust_scale(&[f64::NEG_INFINITY, f64::INFINITY]), None);
    let scale = robust_scale(&[f64::NEG_INFINITY, 1.0, f64::INFINITY]).unwrap();
    assert_eq!((scale.z_score(2.0), scale.z_score(f64::INFINITY)), (0.0, 0.6745));
}

#[test]
fn an_effect_size_stays_in_its_range() {
    let test = count_test(&[10, 0], &[0, 10], CountStatistic::LikelihoodRatio).unwrap();
    assert_eq!(test.cramers_v, 1.0);
    let test = chi_square_goodness_of_fit(&[0, 100], &[0.99, 0.01]).unwrap();
    assert!((test.cramers_v - 1.0).abs() < 1e-9, "{test:?}");
}

#[test]
fn a_fine_sketch_is_as_fine_as_it_says() {
    let mut sketch = QuantileSketch::new(0.001).unwrap();
    (1..=100_000).for_each(|value| sketch.add(f64::from(value) / 7.0));
    for p in [0.01, 0.5, 0.99] {
        let wanted = p * 100_000.0 / 7.0;
        let found = sketch.quantile(p).unwrap();
        assert!((found / wanted - 1.0).abs() < 0.0011, "{p}: {found} for {wanted}");
    }
    assert!(QuantileSketch::new(0.0001).is_err());
}

/// Sentinels and wrong units lie orders of magnitude away from everything else.
#[test]
fn one_large_value_leaves_the_others_of_a_sketch_as_they_were() {
    for accuracy in [0.001, 0.01, 0.1, 0.5] {
        let (mut latencies, mut sizes) =
            (QuantileSketch::new(accuracy).unwrap(), QuantileSketch::new(accuracy).unwrap());
        for value in 1..=1_000 {
            latencies.add(f64::from(value));
            sizes.add(f64::from(value) * 1e12);
        }
        let before = latencies.clone();
        let close = |sketch: &QuantileSketch, p: f64, wanted: f64| {
            let found = sketch.quantile(p).unwrap();
            assert!((found / wanted - 1.0).abs() < accuracy + 0.002, "{p}: {found} for {wanted}");
        };
        for outlier in [1e30, 1e140, -1e140, 1.1e-9] {
            latencies.add(outlier);
            close(&latencies, 0.5, 500.0);
        }
        close(&latencies, 0.9995, 1e30);
        assert_eq!((latencies.min(), latencies.max()), (Some(-1e140), Some(1e140)));
        close(&sizes, 0.5, 500e12);
        sizes.merge(&latencies).unwrap();
        sizes.merge(&before).unwrap();
        close(&sizes, 0.25, 375.0);
        close(&sizes, 0.75, 251e12);
        assert_eq!(sizes.count(), 3_004);
    }
}

/// What a version wrote that had 128 counters here, and so took 1 and 2 for 3¹⁹.
#[test]
fn a_sketch_stored_with_fewer_counters_goes_on_with_more() {
    let counters = |first: u64| format!("{first},{}1", "0,".repeat(126));
    let text = format!(
        r#"{{"accuracy":0.5,"left_out":1,"sketch":{{"config":{{"max_num_bins":128,"gamma":3.0,"gamma_ln":1.0986122886681098,"min_value":1e-9,"offset":19}},"store":{{"bins":[{}],"count":3,"min_key":19,"max_key":146,"offset":19,"bin_limit":128,"is_collapsed":true}},"negative_store":{{"bins":[],"count":0,"min_key":2147483647,"max_key":-2147483648,"offset":0,"bin_limit":128,"is_collapsed":false}},"min":1.0,"max":1e70,"sum":1e70,"zero_count":0}}}}"#,
        counters(2)
    );
    let mut old: QuantileSketch = serde_json::from_str(&text).unwrap();
    assert_eq!((old.count(), old.left_out(), old.min(), old.max()), (3, 1, Some(1.0), Some(1e70)));
    let gone = old.quantile(0.5).unwrap();
    assert!(gone > 1e9 && gone < 1e10, "{gone}");
    let mut new = QuantileSketch::new(0.5).unwrap();
    (0..9).for_each(|_| new.add(4.0));
    (0..3).for_each(|_| old.add(4.0));
    old.merge(&new).unwrap();
    new.merge(&old).unwrap();
    for sketch in [&old, &new] {
        assert!((sketch.quantile(0.5).unwrap() - 4.5).abs() < 1e-12);
        let text = serde_json::to_string(sketch).unwrap();
        let again: QuantileSketch = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
    }
    assert_eq!(new.count(), 24);
}

#[test]
fn evidence_of_parts_adds_up() {
    let mut whole = CanaryEvidence::new(0.2, 1.5).unwrap();
    let (mut first, mut second) = (whole, whole);
    whole.add(7, 9);
    first.add(3, 4);
    second.add(4, 5);
    first.merge(&second).unwrap();
    assert_eq!(first, whole);
    assert!(first.merge(&CanaryEvidence::new(0.3, 1.5).unwrap()).is_err());
    let mut means = MeanDifferenceEvidence::new(1.0, 1.0).unwrap();
    let (mut left, mut right) = (means, means);
    for at in 0..20 {
        means.record(f64::from(at), 1.0).unwrap();
        if at < 9 { &mut left } else { &mut right }.record(f64::from(at), 1.0).unwrap();
    }
    left.merge(&right).unwrap();
    assert_eq!(left.log_ratio(), means.log_ratio());
    let plan = SprtPlan::new(0.01, 0.05, 0.01, 0.05).unwrap();
    let (mut left, mut right, mut all) = (plan.start(), plan.start(), plan.start());
    for at in 0..40 {
        all.record(at == 7);
        if at < 15 { &mut left } else { &mut right }.record(at == 7);
    }
    assert_eq!(left.merge(&right).unwrap(), all.decision());
    assert_eq!(left, all);
}

/// The mean precision of each class against the rest: scikit-learn's `average_precision_score` of the labels as indicators.
#[test]
fn precision_of_several_classes_is_the_mean_of_each() {
    let truth = [0, 1, 2, 1];
    let probabilities = [0.6, 0.3, 0.1, 0.2, 0.5, 0.3, 0.1, 0.2, 0.7, 0.5, 0.3, 0.2];
    let scores = ClassScores::new(&truth, &probabilities, 3).unwrap();
    let of = |class: usize| {
        let positive: Vec<bool> = truth.iter().map(|label| *label == class).collect();
        let column: Vec<f64> = probabilities.chunks(3).map(|row| row[class]).collect();
        BinaryScores::new(&positive, &column).unwrap().average_precision().unwrap()
    };
    let mean = (of(0) + of(1) + of(2)) / 3.0;
    assert!((scores.average_precision(mlp_stats::Average::Macro).unwrap() - mean).abs() < 1e-12);
}

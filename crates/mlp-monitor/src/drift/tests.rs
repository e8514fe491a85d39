use super::*;
use crate::Slices;
use mlp_core::random;
use ndarray::Array2;

fn normal(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
    let mut generator = random::stream(seed, 0);
    Array2::from_shape_fn((rows, columns), |_| random::normal(&mut generator))
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|column| format!("x{column}")).collect()
}

fn verdicts(reference: &Array2<f64>, current: &Array2<f64>) -> Vec<DriftVerdict> {
    let reference =
        DriftReference::new(names(reference.ncols()), reference.view(), DriftConfig::default())
            .unwrap();
    reference.compare(current.view()).unwrap().columns.iter().map(|column| column.verdict).collect()
}

/// 400 pairs of samples: how many of them are called drifted.
fn called(n: usize, m: usize, shift: f64) -> usize {
    let found = |seed: &u64| {
        let mut generator = mlp_core::random::stream(*seed, 0);
        let mut normal = |rows: usize, shift: f64| {
            Array2::from_shape_simple_fn((rows, 1), || {
                mlp_core::random::normal(&mut generator) + shift
            })
        };
        let (reference, current) = (normal(n, 0.0), normal(m, shift));
        let config = DriftConfig::default();
        let reference = DriftReference::new(["x"], reference.view(), config).unwrap();
        let report = reference.compare(current.view()).unwrap();
        report.columns[0].verdict == DriftVerdict::Drifted
    };
    (0..400).filter(found).count()
}

#[test]
fn a_shift_of_three_tenths_of_a_deviation_is_found_and_no_shift_is_not() {
    // At least 95 % of 400.
    let found = called(1_000, 1_000, 0.3);
    assert!(found >= 380, "{found} of 400");
    // At most 5 % and three standard deviations (20 + 13).
    for (n, m) in [(1_000, 100), (1_000, 1_000)] {
        let alarms = called(n, m, 0.0);
        assert!(alarms <= 33, "{n}, {m}: {alarms} of 400");
    }
}

#[test]
fn a_million_rows_make_a_tiny_distance_significant_and_no_drift() {
    let grid = |shift: f64| Array2::from_shape_fn((1_000_000, 1), |(i, _)| i as f64 / 1e6 + shift);
    let config = DriftConfig::default();
    let reference = DriftReference::new(["x"], grid(0.0).view(), config).unwrap();
    let report = reference.compare(grid(0.008).view()).unwrap();
    let column = &report.columns[0];
    assert!(column.adjusted_p < 1e-6 && column.distance < 0.01, "{column:?}");
    assert_eq!(column.verdict, DriftVerdict::Stable);
}

#[test]
fn rows_without_drift_are_rarely_called_drifted() {
    // Any of twenty columns in 5 % of runs at most, and 3 standard deviations of 200 runs.
    let alarms = (0..200).filter(|&seed| {
        verdicts(&normal(1_000, 20, seed), &normal(100, 20, 1_000 + seed))
            .contains(&DriftVerdict::Drifted)
    });
    let count = alarms.count() as f64;
    assert!(count <= 200.0 * 0.05 + 3.0 * (200.0_f64 * 0.05 * 0.95).sqrt(), "{count} of 200 runs");
}

#[test]
fn a_shift_of_half_a_deviation_is_found() {
    let found = (0..100).filter(|&seed| {
        let mut current = normal(1_000, 3, 5_000 + seed);
        current.column_mut(1).mapv_inplace(|value| value + 0.5);
        verdicts(&normal(1_000, 3, seed), &current)
            == [DriftVerdict::Stable, DriftVerdict::Drifted, DriftVerdict::Stable]
    });
    assert!(found.count() >= 95);
}

#[test]
fn a_difference_that_is_significant_but_tiny_is_no_drift() {
    let (reference, mut current) = (normal(100_000, 1, 1), normal(100_000, 1, 2));
    current.mapv_inplace(|value| value + 0.03);
    let reference = DriftReference::new(["x"], reference.view(), DriftConfig::default()).unwrap();
    let report = reference.compare(current.view()).unwrap();
    assert!(report.columns[0].adjusted_p < 0.001, "{report}");
    assert_eq!(report.columns[0].verdict, DriftVerdict::Stable);
}

#[test]
fn constant_missing_and_tiny_columns_have_a_verdict() {
    let constant = Array2::from_elem((100, 1), 3.0);
    assert_eq!(verdicts(&constant, &constant), [DriftVerdict::Stable]);
    assert_eq!(verdicts(&constant, &Array2::from_elem((100, 1), 4.0)), [DriftVerdict::Drifted]);
    assert_eq!(verdicts(&constant, &Array2::from_elem((100, 1), f64::NAN)), [DriftVerdict::TooFew]);
    assert_eq!(verdicts(&constant, &Array2::from_elem((5, 1), 4.0)), [DriftVerdict::TooFew]);
    assert_eq!(verdicts(&constant, &Array2::zeros((0, 1))), [DriftVerdict::TooFew]);
}

#[test]
fn one_outlier_changes_no_verdict() {
    let (reference, mut current) = (normal(1_000, 1, 1), normal(1_000, 1, 2));
    assert_eq!(verdicts(&reference, &current), [DriftVerdict::Stable]);
    current[[0, 0]] = 1e9;
    assert_eq!(verdicts(&reference, &current), [DriftVerdict::Stable]);
    current.mapv_inplace(|value| value + 1.0);
    assert_eq!(verdicts(&reference, &current), [DriftVerdict::Drifted]);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let rows = normal(50, 2, 1);
    let new = |config| DriftReference::new(names(2), rows.view(), config);
    assert!(DriftReference::new(["x"], rows.view(), DriftConfig::default()).is_err());
    assert!(new(DriftConfig { alpha: 0.0, ..DriftConfig::default() }).is_err());
    assert!(new(DriftConfig { bins: 1, ..DriftConfig::default() }).is_err());
    assert!(new(DriftConfig { min_psi: f64::NAN, ..DriftConfig::default() }).is_err());
    assert!(new(DriftConfig::default()).unwrap().compare(normal(50, 3, 1).view()).is_err());
}

fn of_test(test: DriftTest) -> DriftConfig {
    DriftConfig::default().with_test(test)
}

#[test]
fn a_hundred_features_without_drift_make_an_alarm_in_at_most_one_run_of_twenty() {
    for test in [DriftTest::KolmogorovSmirnov, DriftTest::Bins] {
        let alarms = (0..200).filter(|&seed| {
            let reference = normal(1_000, 100, 7_000 + seed);
            let reference =
                DriftReference::new(names(100), reference.view(), of_test(test)).unwrap();
            let report = reference.compare(normal(100, 100, 9_000 + seed).view()).unwrap();
            report.drifted().next().is_some()
        });
        // 10 are nominal, and three standard deviations.
        let alarms = alarms.count();
        assert!(alarms <= 19, "{test:?}: {alarms} of 200 runs");
    }
}

#[test]
fn every_test_keeps_its_level_and_finds_a_shift() {
    for test in [DriftTest::KolmogorovSmirnov, DriftTest::AndersonDarling, DriftTest::Bins] {
        let called = |shift: f64| {
            (0..400)
                .filter(|&seed| {
                    let reference = normal(1_000, 1, seed);
                    let reference =
                        DriftReference::new(["x"], reference.view(), of_test(test)).unwrap();
                    let current = normal(100, 1, 50_000 + seed) + shift;
                    reference.compare(current.view()).unwrap().drifted().next().is_some()
                })
                .count()
        };
        // 5 % of 400 and three standard deviations.
        let (alarms, found) = (called(0.0), called(1.0));
        assert!(alarms <= 33, "{test:?}: {alarms} alarms");
        assert_eq!(found, 400, "{test:?}");
    }
}

fn category(probabilities: &[f64], rows: usize, seed: u64) -> Array2<f64> {
    let mut generator = random::stream(seed, 1);
    Array2::from_shape_simple_fn((rows, 1), || {
        let mut left = random::uniform(&mut generator);
        let found = probabilities.iter().position(|share| {
            left -= share;
            left < 0.0
        });
        found.unwrap_or(0) as f64
    })
}

#[test]
fn categories_keep_their_level_whatever_their_number_and_a_new_one_is_drift() {
    // Some are so rare that they are compared together.
    let shares: Vec<f64> = (0..40).map(|k| 0.2 * 0.8_f64.powi(k)).collect();
    let compare = |current: &Array2<f64>, seed: u64| {
        let reference = category(&shares, 1_000, seed);
        let config = DriftConfig::default();
        let reference =
            DriftReference::with_categories(["c"], reference.view(), &["c"], config).unwrap();
        reference.compare(current.view()).unwrap().columns.remove(0)
    };
    let significant = (0..400)
        .filter(|&seed| compare(&category(&shares, 100, 3_000 + seed), seed).p_value <= 0.05)
        .count();
    assert!((4..=33).contains(&significant), "{significant} of 400 at 5 %");

    let mut current = category(&shares, 200, 1);
    current.slice_mut(ndarray::s![..60, ..]).fill(99.0);
    let found = compare(&current, 2);
    assert_eq!(
        (found.verdict, found.unknown, found.wasserstein),
        (DriftVerdict::Drifted, 60, None)
    );
    assert_eq!(found.test, ColumnTest::ChiSquare);
    assert!(found.distance > 0.25 && found.distance < 0.4, "{found:?}");
}

#[test]
fn a_constant_or_single_category_column_has_a_p_of_1() {
    let constant = Array2::from_elem((100, 1), 3.0);
    for test in [DriftTest::KolmogorovSmirnov, DriftTest::AndersonDarling, DriftTest::Bins] {
        for categories in [&[][..], &["c"]] {
            let reference =
                DriftReference::with_categories(["c"], constant.view(), categories, of_test(test));
            let report = reference.unwrap().compare(constant.view()).unwrap();
            let column = &report.columns[0];
            assert_eq!((column.p_value, column.psi), (1.0, 0.0), "{test:?} {categories:?}");
            assert_eq!(column.verdict, DriftVerdict::Stable);
        }
    }
}

#[test]
fn one_huge_outlier_does_not_change_the_verdict_of_the_index() {
    let reference = normal(1_000, 1, 1);
    let mut current = normal(1_000, 1, 2) + 1.0;
    let reference = DriftReference::new(["x"], reference.view(), of_test(DriftTest::Bins)).unwrap();
    let before = reference.compare(current.view()).unwrap().columns.remove(0);
    current[[0, 0]] = 1e9;
    let after = reference.compare(current.view()).unwrap().columns.remove(0);
    assert_eq!(after.verdict, before.verdict);
    assert!((after.psi - before.psi).abs() < 0.02 && before.psi > 0.5, "{before:?} {after:?}");
}

#[test]
fn the_effect_sizes_are_those_of_their_definitions() {
    let reference = Array2::from_shape_fn((1_000, 1), |(i, _)| i as f64);
    let current = reference.mapv(|value| value + 250.0);
    let compared = DriftReference::new(["x"], reference.view(), DriftConfig::default()).unwrap();
    let column = compared.compare(current.view()).unwrap().columns.remove(0);
    assert!((column.distance - 0.25).abs() < 1e-12);
    // Moved by 250 of a standard deviation of √((n² − 1) / 12).
    let deviation = ((1e6_f64 - 1.0) / 12.0).sqrt();
    assert!((column.wasserstein.unwrap() - 250.0 / deviation).abs() < 1e-9);
    assert!(column.jensen_shannon > 0.3 && column.jensen_shannon < 0.6, "{column:?}");
}

#[test]
fn a_reference_is_bounded_and_says_the_same() {
    let rows = normal(100_000, 1, 3);
    let whole = DriftReference::new(["x"], rows.view(), DriftConfig::default()).unwrap();
    let config = DriftConfig::default().with_max_reference(5_000);
    let thin = DriftReference::new(["x"], rows.view(), config).unwrap();
    for shift in [0.0, 0.4] {
        let current = normal(2_000, 1, 4) + shift;
        let of = |reference: &DriftReference| {
            reference.compare(current.view()).unwrap().columns.remove(0)
        };
        let (whole, thin) = (of(&whole), of(&thin));
        assert_eq!(whole.verdict, thin.verdict);
        assert!((whole.distance - thin.distance).abs() < 2e-4, "{whole:?} {thin:?}");
        assert!((whole.psi - thin.psi).abs() < 2e-3, "{whole:?} {thin:?}");
    }
}

#[test]
fn a_shift_in_one_slice_is_found_there_and_many_slices_make_no_alarms() {
    let (reference, mut current) = (normal(2_000, 3, 1), normal(3_000, 3, 2));
    let segment: Vec<f64> = (0..3_000).map(|row| f64::from(row % 10)).collect();
    let slices = Slices::new(3_000).with_values("segment", &segment).unwrap();
    let reference =
        DriftReference::new(names(3), reference.view(), DriftConfig::default()).unwrap();
    let drifted = |current: &Array2<f64>| -> Vec<String> {
        let found = reference.compare_slices(current.view(), &slices).unwrap();
        let named = found.iter().flat_map(|slice| {
            slice.report.drifted().map(move |column| format!("{} {column}", slice.name))
        });
        named.collect()
    };
    assert!(drifted(&current).is_empty());
    for row in (4..3_000).step_by(10) {
        current[[row, 1]] += 0.8;
    }
    assert_eq!(drifted(&current), ["segment=4 x1"]);
    assert!(reference.compare_slices(normal(10, 3, 1).view(), &slices).is_err());
}

#[test]
fn a_stream_that_changes_is_noticed_and_nan_is_left_out() {
    let mut stream = StreamDrift::new(["a", "b"], || {
        Ok(mlp_stats::PageHinkley::new(mlp_stats::PageHinkleyConfig::default())?)
    })
    .unwrap();
    let mut changes = Vec::new();
    for row in 0..2_000 {
        let b = if row < 1_000 { 0.0 } else { 5.0 };
        changes.extend(stream.add(&[f64::NAN, b]).unwrap());
    }
    assert_eq!((changes[0].column.as_str(), stream.left_out()), ("b", 2_000));
    assert!((1_000..1_100).contains(&changes[0].row), "{changes:?}");
    assert!(stream.add(&[1.0]).is_err());
}

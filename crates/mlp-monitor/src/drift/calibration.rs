//! How often unchanged samples are called drifted, and changed ones are not: with fixed seeds and binomial bounds.

use super::tests::{names, normal, of_test, verdicts};
use super::*;
use mlp_core::random;
use ndarray::Array2;

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
    // 5 % of 400 and three standard deviations (20 ± 13): a test that never says anything fails, too.
    for (n, m) in [(1_000, 100), (1_000, 1_000)] {
        let alarms = called(n, m, 0.0);
        assert!((7..=33).contains(&alarms), "{n}, {m}: {alarms} of 400");
    }
}

#[test]
fn rows_without_drift_are_rarely_called_drifted() {
    // Any of twenty columns in 5 % of runs at most, and 3 standard deviations of 200 runs.
    let alarms = (0..200).filter(|&seed| {
        verdicts(&normal(1_000, 20, seed), &normal(100, 20, 1_000 + seed))
            .contains(&DriftVerdict::Drifted)
    });
    let count = alarms.count() as f64;
    assert!(count >= 1.0, "a test that never says anything");
    assert!(count <= 200.0 * 0.05 + 3.0 * (200.0_f64 * 0.05 * 0.95).sqrt(), "{count} of 200 runs");
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
        // 10 are nominal, and three standard deviations are 9.
        let alarms = alarms.count();
        assert!((1..=19).contains(&alarms), "{test:?}: {alarms} of 200 runs");
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
        // 5 % of 400 and three standard deviations (20 ± 13).
        let (alarms, found) = (called(0.0), called(1.0));
        assert!((7..=33).contains(&alarms), "{test:?}: {alarms} alarms");
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

/// Columns that are 1 in such a share of rows.
fn flags(rows: usize, columns: usize, share: f64, seed: u64) -> Array2<f64> {
    let mut generator = random::stream(seed, 2);
    Array2::from_shape_simple_fn((rows, columns), || {
        f64::from(u8::from(random::uniform(&mut generator) < share))
    })
}

fn of_categories(reference: &Array2<f64>, current: &Array2<f64>) -> DriftReport {
    let names = names(reference.ncols());
    let texts: Vec<&str> = names.iter().map(String::as_str).collect();
    DriftReference::with_categories(names.clone(), reference.view(), &texts, DriftConfig::default())
        .unwrap()
        .compare(current.view())
        .unwrap()
}

#[test]
fn a_hundred_rare_flags_without_drift_make_an_alarm_in_at_most_one_run_of_twenty() {
    for (m, share) in [(30, 0.001), (50, 0.001), (100, 0.002)] {
        let alarms = (0..100).filter(|&seed| {
            let report =
                of_categories(&flags(1_000, 100, share, seed), &flags(m, 100, share, 500 + seed));
            report.drifted().next().is_some()
        });
        // 5 of 100 are nominal, and three standard deviations are 6.5; an exact test of so few events is on the safe side.
        let alarms = alarms.count();
        assert!(alarms <= 11, "{m} {share}: {alarms} of 100 runs");
    }
    // The control: a flag that was rare and is not any more is found.
    let mut current = flags(30, 100, 0.001, 7);
    current.column_mut(3).fill(1.0);
    current.slice_mut(ndarray::s![10.., 3]).fill(0.0);
    let report = of_categories(&flags(1_000, 100, 0.001, 8), &current);
    assert_eq!(report.drifted().collect::<Vec<_>>(), ["x3"]);
    assert_eq!((report.columns[3].test, report.columns[3].cells), (ColumnTest::FisherExact, 2));
}

#[test]
fn never_seen_categories_in_the_place_of_rare_ones_are_drift() {
    let reference =
        Array2::from_shape_fn(
            (1_000, 1),
            |(i, _)| {
                if i < 600 { 0.0 } else { 1.0 + (i % 40) as f64 }
            },
        );
    for unknown in [|i: usize| 1_000.0 + i as f64, |_| 77.0, |i: usize| 500.0 + (i % 3) as f64] {
        let current =
            Array2::from_shape_fn((100, 1), |(i, _)| if i < 60 { 0.0 } else { unknown(i) });
        let column = of_categories(&reference, &current).columns.remove(0);
        assert_eq!((column.verdict, column.unknown), (DriftVerdict::Drifted, 40), "{column:?}");
        assert!(column.cells > 5 && column.distance > 0.3, "{column:?}");
    }
    // The control: 40 rare categories that stay are no drift.
    let shares: Vec<f64> = (0..41).map(|k| if k == 0 { 0.6 } else { 0.01 }).collect();
    let column =
        of_categories(&category(&shares, 1_000, 1), &category(&shares, 100, 2)).columns.remove(0);
    assert_eq!(column.verdict, DriftVerdict::Stable, "{column:?}");
}

#[test]
fn a_few_rows_of_a_new_category_beside_frequent_ones_are_drift() {
    let reference = Array2::from_shape_fn((1_000, 1), |(i, _)| (i % 3) as f64);
    let current = |new: usize| {
        Array2::from_shape_fn((30, 1), |(i, _)| if i < new { 9.0 } else { (i % 3) as f64 })
    };
    let found = |new: usize| of_categories(&reference, &current(new)).columns.remove(0);
    assert_eq!(found(4).verdict, DriftVerdict::Drifted);
    assert_eq!((found(4).test, found(4).unknown), (ColumnTest::FisherExact, 4));
    assert_eq!(found(0).verdict, DriftVerdict::Stable);
}

#[test]
fn five_hundred_rare_categories_that_become_four_are_drift() {
    let reference = Array2::from_shape_fn((2_000, 1), |(i, _)| (i % 500) as f64);
    let collapsed = Array2::from_shape_fn((200, 1), |(i, _)| (i % 4) as f64);
    let column = of_categories(&reference, &collapsed).columns.remove(0);
    assert_eq!(column.verdict, DriftVerdict::Drifted, "{column:?}");
    let sample = |rows: usize, seed: u64| {
        let mut generator = random::stream(seed, 3);
        Array2::from_shape_simple_fn((rows, 1), || random::below(&mut generator, 500) as f64)
    };
    let (reference, same) = (sample(2_000, 1), sample(200, 2));
    let column = of_categories(&reference, &same).columns.remove(0);
    assert_eq!(column.verdict, DriftVerdict::Stable, "{column:?}");
}

#[test]
fn categories_beyond_those_kept_are_compared_together() {
    let reference = Array2::from_shape_fn((2_000, 1), |(i, _)| (i % 500) as f64);
    let config = DriftConfig::default().with_max_categories(10);
    let known = DriftReference::with_categories(["c"], reference.view(), &["c"], config).unwrap();
    let column = known.compare(reference.view()).unwrap().columns.remove(0);
    // Each occurs four times in either sample: five pairs, and the others.
    assert_eq!((column.verdict, column.cells), (DriftVerdict::Stable, 6));
    let first = reference.mapv(|code| code % 10.0);
    assert_eq!(known.compare(first.view()).unwrap().columns[0].verdict, DriftVerdict::Drifted);
    assert!(serde_json::to_string(&known).unwrap().len() < 1_000);
}

#[test]
fn values_so_few_that_all_would_be_one_cell_are_too_few() {
    let reference = Array2::from_shape_fn((100, 1), |(i, _)| (i % 4) as f64);
    let config = DriftConfig { min_values: 1, ..DriftConfig::default() };
    let known = DriftReference::with_categories(["c"], reference.view(), &["c"], config).unwrap();
    let report = known.compare(Array2::from_elem((3, 1), 9.0).view()).unwrap();
    assert_eq!(report.columns[0].verdict, DriftVerdict::TooFew);
}

#[test]
fn a_column_of_many_rare_categories_keeps_its_level() {
    // Half of the values of a sample of 100 are of categories that the reference of 1,000 has not, without drift.
    let sample = |rows: usize, seed: u64| {
        let mut generator = random::stream(seed, 4);
        Array2::from_shape_simple_fn((rows, 1), || {
            let wide = random::uniform(&mut generator).powi(3) * 4_000.0;
            (wide.floor() * 7_919.0) % 4_001.0
        })
    };
    let significant = (0..400).filter(|&seed| {
        let column =
            of_categories(&sample(1_000, seed), &sample(100, 900 + seed)).columns.remove(0);
        assert!(column.unknown > 5);
        column.p_value <= 0.05
    });
    // 5 % of 400 and three standard deviations (20 ± 13).
    let significant = significant.count();
    assert!((7..=33).contains(&significant), "{significant}");
}

use super::*;
use crate::Slices;
use mlp_core::{Labels, random};
use ndarray::Array2;

pub(super) fn normal(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
    let mut generator = random::stream(seed, 0);
    Array2::from_shape_fn((rows, columns), |_| random::normal(&mut generator))
}

pub(super) fn names(count: usize) -> Vec<String> {
    (0..count).map(|column| format!("x{column}")).collect()
}

pub(super) fn verdicts(reference: &Array2<f64>, current: &Array2<f64>) -> Vec<DriftVerdict> {
    let reference =
        DriftReference::new(names(reference.ncols()), reference.view(), DriftConfig::default())
            .unwrap();
    reference.compare(current.view()).unwrap().columns.iter().map(|column| column.verdict).collect()
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

pub(super) fn of_test(test: DriftTest) -> DriftConfig {
    DriftConfig::default().with_test(test)
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

#[test]
fn a_reference_without_a_number_has_a_verdict() {
    let nothing = Array2::from_elem((100, 1), f64::NAN);
    for categories in [&[][..], &["c"]] {
        let reference = DriftReference::with_categories(
            ["c"],
            nothing.view(),
            categories,
            of_test(DriftTest::Bins),
        )
        .unwrap();
        for current in [Array2::zeros((100, 1)), nothing.clone()] {
            let report = reference.compare(current.view()).unwrap();
            assert_eq!(report.columns[0].verdict, DriftVerdict::TooFew);
            let observed = report.observations(&Labels::new());
            assert!(observed.iter().all(|(.., observation)| observation.value.is_none()));
        }
        let text = serde_json::to_string(&reference).unwrap();
        assert_eq!(serde_json::from_str::<DriftReference>(&text).unwrap(), reference);
    }
}

#[test]
fn a_column_of_mostly_zeros_that_has_fewer_is_drift_by_every_test() {
    let zeros = |share: usize| {
        Array2::from_shape_fn((1_000, 1), |(i, _)| if i < share { 0.0 } else { 1.0 + i as f64 })
    };
    for test in [DriftTest::KolmogorovSmirnov, DriftTest::AndersonDarling, DriftTest::Bins] {
        let reference = DriftReference::new(["z"], zeros(950).view(), of_test(test)).unwrap();
        let column = reference.compare(zeros(400).view()).unwrap().columns.remove(0);
        assert_eq!(column.verdict, DriftVerdict::Drifted, "{test:?}");
        assert!(column.psi > 1.0 && column.psi_p_value < 1e-9, "{test:?}: {column:?}");
        assert_eq!(verdicts(&zeros(950), &zeros(950)), [DriftVerdict::Stable]);
    }
}

#[test]
fn large_samples_that_are_far_apart_are_tested_quickly_and_others_exactly() {
    let grid = |rows: usize, shift: f64| {
        Array2::from_shape_fn((rows, 1), |(i, _)| i as f64 / rows as f64 + shift)
    };
    let reference =
        DriftReference::new(["x"], grid(3_000, 0.0).view(), DriftConfig::default()).unwrap();
    for shift in [0.0, 0.03, 0.035, 0.04, 0.5] {
        let current = grid(2_999, shift);
        let column = reference.compare(current.view()).unwrap().columns.remove(0);
        let values = |of: &Array2<f64>| of.iter().copied().collect::<Vec<f64>>();
        let exact =
            mlp_stats::ks_two_sample(&values(&grid(3_000, 0.0)), &values(&current)).unwrap();
        if exact.p_value > 0.005 {
            assert_eq!(column.p_value, exact.p_value, "{shift}");
        } else {
            assert!(column.p_value < 0.005, "{shift}: {} {}", column.p_value, exact.p_value);
        }
    }
    let far = reference.compare(grid(2_999, 0.5).view()).unwrap().columns.remove(0);
    assert!(far.p_value < 1e-100 && far.verdict == DriftVerdict::Drifted);
}

#[test]
fn a_reference_is_stored_with_the_fingerprint_of_its_dataset_and_says_the_same() {
    let mut rows = normal(500, 3, 1);
    rows.column_mut(2).mapv_inplace(|value| value.round());
    let fingerprint = mlp_core::ContentHash::from_bytes([7; 32]);
    let new = |rows: &Array2<f64>| {
        DriftReference::with_categories(names(3), rows.view(), &["x2"], DriftConfig::default())
            .unwrap()
            .with_dataset(fingerprint)
    };
    let reference = new(&rows);
    let text = serde_json::to_string(&reference).unwrap();
    let read: DriftReference = serde_json::from_str(&text).unwrap();
    assert_eq!((&read, read.dataset()), (&reference, Some(&fingerprint)));
    let current = normal(400, 3, 2) + 0.4;
    let report = reference.compare(current.view()).unwrap();
    assert_eq!(read.compare(current.view()).unwrap(), report);
    assert_eq!(report.dataset, Some(fingerprint));
    let again: DriftReport =
        serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(again, report);
    for (part, instead) in [
        ("\"names\":[\"x0\",", "\"names\":["),
        ("\"sorted\":[", "\"sorted\":[9e9,"),
        ("\"alpha\":0.05", "\"alpha\":2"),
        ("\"others\":0", "\"others\":9007199254740992"),
        ("{\"names\"", "{\"more\":1,\"names\""),
    ] {
        let wrong = text.replacen(part, instead, 1);
        assert!(wrong != text && serde_json::from_str::<DriftReference>(&wrong).is_err(), "{part}");
    }
}

#[test]
fn reports_of_extreme_values_can_be_written_and_read() {
    let rows = Array2::from_shape_fn((100, 2), |(i, column)| match (i % 3, column) {
        (0, _) => f64::MAX,
        (1, _) => f64::MIN,
        (_, 0) => f64::INFINITY,
        _ => f64::MIN_POSITIVE,
    });
    let reference =
        DriftReference::with_categories(["a", "b"], rows.view(), &["b"], DriftConfig::default());
    let report = reference.unwrap().compare((-&rows).view()).unwrap();
    assert_eq!(report.columns[0].wasserstein, None, "beyond what a double can hold");
    let again: DriftReport =
        serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(again, report);
}

#[test]
fn a_reference_that_does_not_fit_into_memory_is_sampled() {
    let config = DriftConfig::default().with_max_reference(2_000);
    let mut builder = DriftReferenceBuilder::new(["x", "c"], &["c"], config.clone(), 3).unwrap();
    for chunk in 0..10 {
        let mut rows = normal(3_000, 2, chunk);
        rows.column_mut(1).mapv_inplace(f64::round);
        rows[[0, 0]] = f64::NAN;
        builder.add_rows(rows.view()).unwrap();
    }
    assert!(builder.add_rows(normal(5, 3, 1).view()).is_err());
    let reference = builder.build().unwrap();
    let mut current = normal(1_000, 2, 99);
    current.column_mut(1).mapv_inplace(f64::round);
    let report = reference.compare(current.view()).unwrap();
    assert_eq!(report.drifted().count(), 0, "{report}");
    current.mapv_inplace(|value| value + 1.0);
    assert_eq!(reference.compare(current.view()).unwrap().drifted().count(), 2);
    assert!(serde_json::to_string(&reference).unwrap().len() < 100_000);
    assert!(DriftReferenceBuilder::new(["x"], &["y"], config, 3).is_err());
}

#[test]
fn reports_on_different_subjects_are_told_apart() {
    let reference = DriftReference::new(["x"], normal(500, 1, 1).view(), DriftConfig::default());
    let reference = reference.unwrap();
    let of = |what: &str, shift: f64| {
        let report = reference.compare((normal(500, 1, 2) + shift).view()).unwrap();
        report.observations(&Labels::from([("of".to_owned(), what.to_owned())]))
    };
    let clock = std::sync::Arc::new(mlp_core::ManualClock::new(mlp_core::Timestamp::UNIX_EPOCH));
    let table = crate::RuleTable::usual("https://runbooks", std::time::Duration::from_millis(50));
    let rules = crate::RuleEngine::new(table.unwrap().into_rules(), clock).unwrap();
    let mut told = Vec::new();
    for _ in 0..3 {
        for (signal, labels, value) in of("features", 1.0).into_iter().chain(of("predictions", 0.0))
        {
            told.extend(rules.observe(signal, &labels, value).unwrap());
        }
    }
    let firing = told.iter().all(|alert| alert.status == mlp_core::AlertStatus::Firing);
    assert!(firing && told.iter().all(|alert| alert.labels["of"] == "features"), "{told:?}");
    assert_eq!(told.len(), 3, "drifted, far and wide: once each");
}

#[test]
fn slices_are_a_subject_each() {
    let reference = DriftReference::new(["x"], normal(500, 1, 1).view(), DriftConfig::default());
    let slices = Slices::new(200).with_predicate("even", |row| row % 2 == 0).unwrap();
    let found = reference.unwrap().compare_slices(normal(200, 1, 2).view(), &slices).unwrap();
    let subject = Labels::from([("model".to_owned(), "wine".to_owned())]);
    let observed = found[0].observations(&subject);
    assert_eq!(observed[0].1["slice"], "even");
    assert_eq!((observed[0].1["model"].as_str(), observed[0].1["column"].as_str()), ("wine", "x"));
}

#[test]
fn a_stored_stream_goes_on_to_the_last_bit() {
    fn check<D>(mut stream: StreamDrift<D>, wrong_from: u64)
    where
        D: mlp_stats::DriftDetector + serde::Serialize + serde::de::DeserializeOwned,
    {
        let mut generator = random::stream(5, 0);
        let mut value = move |row: u64| {
            let rate = if row < wrong_from { 0.05 } else { 0.6 };
            f64::from(u8::from(random::uniform(&mut generator) < rate))
        };
        let mut read: Option<StreamDrift<D>> = None;
        let mut changes = Vec::new();
        for row in 0..3_000 {
            let values = [value(row), f64::NAN];
            let found = stream.add(&values).unwrap();
            if let Some(read) = &mut read {
                assert_eq!(read.add(&values).unwrap(), found, "row {row}");
            } else if row == 1_234 {
                read =
                    Some(serde_json::from_str(&serde_json::to_string(&stream).unwrap()).unwrap());
            }
            changes.extend(found.into_iter().filter(|c| c.signal == mlp_stats::DriftSignal::Drift));
        }
        let is_after = |change: &&StreamChange| change.row >= wrong_from;
        assert!(changes.iter().any(|change| is_after(&change) && change.row < wrong_from + 300));
        assert_eq!((stream.left_out(), &stream.to_json()), (3_000, &read.unwrap().to_json()));
        let text = serde_json::to_string(&changes).unwrap();
        assert_eq!(serde_json::from_str::<Vec<StreamChange>>(&text).unwrap(), changes);
        let unknown = stream.to_json().replacen('{', "{\"more\":1,", 1);
        assert!(serde_json::from_str::<StreamDrift<D>>(&unknown).is_err());
    }
    let names = ["errors", "nothing"];
    check(StreamDrift::new(names, || Ok(mlp_stats::Ddm::new(Default::default())?)).unwrap(), 2_000);
    check(
        StreamDrift::new(names, || Ok(mlp_stats::Eddm::new(Default::default())?)).unwrap(),
        2_000,
    );
    check(
        StreamDrift::new(names, || Ok(mlp_stats::HddmA::new(Default::default())?)).unwrap(),
        2_000,
    );
    check(
        StreamDrift::new(names, || Ok(mlp_stats::HddmW::new(Default::default())?)).unwrap(),
        2_000,
    );
    check(
        StreamDrift::new(names, || Ok(mlp_stats::Adwin::new(Default::default())?)).unwrap(),
        2_000,
    );
    check(
        StreamDrift::new(names, || Ok(mlp_stats::Kswin::new(Default::default())?)).unwrap(),
        2_000,
    );
}

impl<D: serde::Serialize> StreamDrift<D> {
    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap()
    }
}

#[test]
fn detectors_of_several_kinds_watch_one_stream() {
    let mut kinds = [true, false].into_iter();
    let mut stream = StreamDrift::<Box<dyn mlp_stats::DriftDetector>>::new(["a", "b"], || {
        Ok(match kinds.next() {
            Some(true) => Box::new(mlp_stats::Adwin::new(Default::default())?),
            _ => Box::new(mlp_stats::PageHinkley::new(Default::default())?),
        })
    })
    .unwrap();
    let changed = (0..2_000).flat_map(|row| stream.add(&[f64::from(row / 1_000 * 5); 2]).unwrap());
    let changed: std::collections::BTreeSet<String> = changed.map(|change| change.column).collect();
    assert_eq!(changed.len(), 2);
}

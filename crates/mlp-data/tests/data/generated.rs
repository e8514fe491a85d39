//! Generated data have the structure they are defined by.

use mlp_data::generate::{
    ClassificationOptions, Shift, make_classification, make_friedman1, plant_shift,
};
use mlp_data::{RowOrder, Table, TargetColumn};

fn values(table: &Table) -> &[f64] {
    match table.target() {
        TargetColumn::Values { values, .. } => values,
        other => panic!("{other:?}"),
    }
}

fn labels(table: &Table) -> &[usize] {
    match table.target() {
        TargetColumn::Classes { labels, .. } => labels,
        other => panic!("{other:?}"),
    }
}

#[test]
fn friedman_1_is_its_formula_plus_noise_of_the_given_deviation() {
    let clean = make_friedman1(2000, 7, 0.0, 5).unwrap();
    let noisy = make_friedman1(2000, 7, 2.0, 5).unwrap();
    assert_eq!(clean.features(), noisy.features());
    for (x, &y) in clean.features().rows().into_iter().zip(values(&clean)) {
        let expected = 10.0 * (std::f64::consts::PI * x[0] * x[1]).sin()
            + 20.0 * (x[2] - 0.5) * (x[2] - 0.5)
            + 10.0 * x[3]
            + 5.0 * x[4];
        assert!((y - expected).abs() < 1e-12);
    }
    let noise =
        values(&noisy).iter().zip(values(&clean)).map(|(a, b)| (a - b).powi(2)).sum::<f64>()
            / 2000.0;
    assert!((noise.sqrt() - 2.0).abs() < 0.15, "{noise}");
    assert!(make_friedman1(10, 4, 0.0, 1).is_err());
    assert!(make_friedman1(10, 5, f64::NAN, 1).is_err());
}

#[test]
fn the_same_seed_makes_the_same_data_and_another_one_others() {
    let fingerprint = |seed| {
        make_classification(100, &ClassificationOptions::new(), seed)
            .unwrap()
            .fingerprint(RowOrder::Matters)
    };
    assert_eq!(fingerprint(1), fingerprint(1));
    assert_ne!(fingerprint(1), fingerprint(2));
}

#[test]
fn informative_columns_tell_the_classes_apart_and_noise_does_not() {
    let options = ClassificationOptions::new()
        .with_columns(3, 2, 2)
        .with_classes(2, 1)
        .with_difficulty(8.0, 0.0);
    let table = make_classification(2000, &options, 3).unwrap();
    let gap = |column: &str| {
        let values = table.column(column).unwrap();
        let mean = |class| {
            let of_class: Vec<f64> = values
                .iter()
                .zip(labels(&table))
                .filter(|(_, l)| **l == class)
                .map(|(v, _)| *v)
                .collect();
            of_class.iter().sum::<f64>() / of_class.len() as f64
        };
        (mean(0) - mean(1)).abs()
    };
    assert!(
        (0..3).any(|i| (gap(&format!("informative{i}")) - 16.0).abs() < 0.5),
        "corners lie 2 × class_sep apart"
    );
    assert!(gap("noise0") < 0.2 && gap("noise1") < 0.2);
    assert_eq!(labels(&table).iter().filter(|l| **l == 0).count(), 1000, "classes are balanced");
}

#[test]
fn redundant_columns_are_linear_in_the_informative_ones() {
    let options = ClassificationOptions::new().with_columns(2, 1, 0).with_classes(2, 1);
    let table = make_classification(50, &options, 3).unwrap();
    // The mix follows from two rows by Cramer's rule, and must then explain all the others.
    let x = table.features();
    let determinant = x[[0, 0]] * x[[1, 1]] - x[[0, 1]] * x[[1, 0]];
    let a = (x[[0, 2]] * x[[1, 1]] - x[[0, 1]] * x[[1, 2]]) / determinant;
    let b = (x[[0, 0]] * x[[1, 2]] - x[[0, 2]] * x[[1, 0]]) / determinant;
    for row in x.rows() {
        assert!((a * row[0] + b * row[1] - row[2]).abs() < 1e-8, "{row}");
    }
}

#[test]
fn impossible_options_are_refused() {
    for options in [
        ClassificationOptions::new().with_columns(1, 0, 0),
        ClassificationOptions::new().with_classes(1, 1),
        ClassificationOptions::new().with_classes(2, 0),
        ClassificationOptions::new().with_difficulty(1.0, 1.5),
        ClassificationOptions::new().with_difficulty(f64::NAN, 0.0),
    ] {
        assert!(make_classification(10, &options, 1).is_err(), "{options:?}");
    }
}

#[test]
fn a_planted_shift_changes_what_it_names_and_nothing_else() {
    let good = make_classification(4000, &ClassificationOptions::new(), 1).unwrap();
    let column = || "noise3".to_owned();
    let plant = |shift: Shift| plant_shift(&good, &shift, 9).unwrap();
    let mean = |t: &Table| t.column("noise3").unwrap().sum() / 4000.0;
    let moved = plant(Shift::Mean { column: column(), deviations: 2.0 });
    assert!((mean(&moved) - mean(&good) - 2.0).abs() < 0.1);
    assert_eq!(moved.column("noise4").unwrap(), good.column("noise4").unwrap());
    let gone = plant(Shift::Missing { column: column(), share: 0.25 });
    let missing = gone.column("noise3").unwrap().iter().filter(|v| v.is_nan()).count();
    assert!((900..1100).contains(&missing), "{missing}");
    let wrong = plant(Shift::Labels { share: 0.1 });
    let changed = labels(&wrong).iter().zip(labels(&good)).filter(|(a, b)| a != b).count();
    assert!((330..470).contains(&changed), "{changed}");
    assert_eq!(wrong.features(), good.features());
    for bad in [
        Shift::Scale { column: "z".to_owned(), factor: 1.0 },
        Shift::Scale { column: column(), factor: f64::NAN },
        Shift::Missing { column: column(), share: -0.1 },
        Shift::Mean { column: column(), deviations: f64::INFINITY },
    ] {
        assert!(plant_shift(&good, &bad, 1).is_err(), "{bad:?}");
    }
    assert!(
        plant_shift(&make_friedman1(5, 5, 0.0, 1).unwrap(), &Shift::Labels { share: 0.5 }, 1)
            .is_err()
    );
}

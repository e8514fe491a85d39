//! Scalers, imputers, encoders, components, and transformers of some columns.

use std::sync::Arc;

use mlp_core::{
    Estimator, FitError, FittedTransformer, FittedTransformerExt, ModelExt, Samples, Saved, Target,
    Transformer,
};
use mlp_models::{
    ColumnTransform, Fill, Imputer, Loader, LogisticRegression, MinMaxScaler, OneHotEncoder,
    OrdinalEncoder, Pca, Pipeline, PolynomialFeatures, RobustScaler, StandardScaler, Unknown,
};
use ndarray::{Array2, array};

use crate::data::Data;

fn fit(transformer: &dyn Transformer, rows: &Array2<f64>) -> Arc<dyn FittedTransformer> {
    try_fit(transformer, rows).unwrap()
}

fn try_fit(
    transformer: &dyn Transformer,
    rows: &Array2<f64>,
) -> Result<Arc<dyn FittedTransformer>, String> {
    let names: Vec<String> = (0..rows.ncols()).map(|column| format!("x{column}")).collect();
    let samples = Samples::new(rows.view(), &names, Target::Absent).unwrap();
    transformer.fit(samples, 0).map_err(|error| {
        std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string)
    })
}

fn transformers() -> Vec<Box<dyn Transformer>> {
    vec![
        Box::new(StandardScaler),
        Box::new(MinMaxScaler),
        Box::new(RobustScaler::default()),
        Box::new(Imputer::new(Fill::Mean).with_indicator()),
        Box::new(PolynomialFeatures::default()),
        Box::new(PolynomialFeatures::default().with_degree(3).interactions_only()),
        Box::new(OneHotEncoder::default().with_unknown(Unknown::Other)),
        Box::new(OrdinalEncoder::default().with_unknown(Unknown::Ignore)),
        Box::new(Pca::count(2)),
        Box::new(Pca::share(0.8).whitened()),
        Box::new(ColumnTransform::new(["x2", "x0"], StandardScaler)),
    ]
}

fn some_rows() -> Array2<f64> {
    Array2::from_shape_fn((12, 4), |(i, j)| ((i * 7 + j * 5 + i * i * j) % 11) as f64)
}

#[test]
fn a_saved_transformer_gives_the_same_bits_and_damage_never_panics() {
    let rows = some_rows();
    for transformer in transformers() {
        let fitted = fit(&*transformer, &rows);
        let saved = Saved::from_bytes(&fitted.save().unwrap().to_bytes()).unwrap();
        let loaded = Loader::default().transformer(&saved).unwrap();
        assert_eq!(loaded.output_names(), fitted.output_names());
        let wanted = fitted.transform(rows.view()).unwrap();
        assert_eq!(loaded.transform(rows.view()).unwrap(), wanted, "{transformer:?}");
        for (row, wanted) in rows.rows().into_iter().zip(wanted.rows()) {
            let one = fitted.transform(row.insert_axis(ndarray::Axis(0))).unwrap();
            assert_eq!(one.row(0), wanted, "{transformer:?}");
        }
        for place in 0..saved.body().len() {
            let mut damaged = saved.body().to_vec();
            damaged[place] ^= 0x11;
            for body in [damaged, saved.body()[..place].to_vec()] {
                let damaged = Saved::new(saved.kind(), 1, body).unwrap();
                if let Ok(read) = Loader::default().transformer(&damaged) {
                    let width = read.input_names().len();
                    let _ = read.transform(Array2::zeros((1, width)).view());
                }
            }
        }
    }
}

#[test]
fn missing_values_are_filled_and_told() {
    let rows = array![[1.0, f64::NAN], [3.0, 5.0], [f64::NAN, 5.0], [8.0, 6.0]];
    let fitted = fit(&Imputer::new(Fill::Median).with_indicator(), &rows);
    assert_eq!(fitted.output_names(), ["x0", "x1", "x0 is missing", "x1 is missing"]);
    let filled = fitted.transform(array![[f64::NAN, 7.0]].view()).unwrap();
    assert_eq!(filled, array![[3.0, 7.0, 1.0, 0.0]]);
    assert!(fitted.transform(array![[f64::INFINITY, 7.0]].view()).is_err());
    let empty = array![[f64::NAN], [f64::NAN]];
    let error = try_fit(&Imputer::new(Fill::Mean), &empty).unwrap_err();
    assert!(error.contains("\"x0\" has no value"), "{error}");
    assert!(try_fit(&Imputer::new(Fill::Constant(0.0)), &empty).is_ok());
    assert!(try_fit(&Imputer::new(Fill::Constant(f64::NAN)), &empty).is_err());
}

#[test]
fn an_unknown_category_is_refused_ignored_or_told() {
    let rows = array![[1.0], [3.0], [f64::NAN], [1.0]];
    let asked = array![[3.0], [f64::NAN], [-0.5]];
    let encode = |unknown| {
        let fitted = fit(&OneHotEncoder::default().with_unknown(unknown), &rows);
        (fitted.output_names().join(" "), fitted.transform(asked.view()))
    };
    let (names, refused) = encode(Unknown::Refuse);
    assert_eq!(names, "x0=1 x0=3 x0=NaN");
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("row 2, feature \"x0\": -0.5"), "{refused}");
    let (_, ignored) = encode(Unknown::Ignore);
    assert_eq!(ignored.unwrap(), array![[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]);
    let (names, other) = encode(Unknown::Other);
    assert_eq!(names, "x0=1 x0=3 x0=NaN x0 is other");
    assert_eq!(other.unwrap().row(2).to_vec(), [0.0, 0.0, 0.0, 1.0]);
    let codes = fit(&OrdinalEncoder::default().with_unknown(Unknown::Ignore), &rows);
    assert_eq!(codes.transform(asked.view()).unwrap(), array![[1.0], [2.0], [3.0]]);
    let many = try_fit(&OneHotEncoder::default().with_max_categories(2), &rows).unwrap_err();
    assert!(many.contains("3 categories, at most 2"), "{many}");
}

#[test]
fn components_are_uncorrelated_and_hold_the_variance_asked_for() {
    let data = Data::load("breast_cancer").standardised();
    let fitted = Pca::share(0.9).fit_pca(&data.samples()).unwrap();
    let shares = fitted.variance_shares();
    let held: f64 = shares.iter().sum();
    assert!(held > 0.9 && held - shares[shares.len() - 1] <= 0.9, "{shares:?}");
    let white = Pca::count(5).whitened().fit_pca(&data.samples()).unwrap();
    let made = white.transform(data.features.view()).unwrap();
    let covariance = made.t().dot(&made) / 568.0;
    let off = (&covariance - &Array2::<f64>::eye(5)).mapv(f64::abs);
    assert!(off.iter().all(|cell| *cell < 1e-9), "{covariance}");
    assert!(try_fit(&Pca::count(9), &some_rows()).is_err());
    let flat = Array2::from_elem((4, 3), 2.0);
    assert!(try_fit(&Pca::count(2), &flat).is_ok());
    assert!(try_fit(&Pca::count(2).whitened(), &flat).is_err());
}

#[test]
fn components_are_those_of_the_features_in_any_unit_or_an_error_names_the_feature() {
    let data = Data::load("wine").standardised();
    let fit = |unit: f64| {
        let mut scaled = data.features.clone();
        scaled *= unit;
        let samples = data.samples();
        let scaled = Samples::new(scaled.view(), samples.names(), Target::Absent).unwrap();
        Pca::count(4).fit_pca(&scaled).unwrap()
    };
    let one = fit(1.0);
    for power in [-300, -80, 80, 300] {
        let unit = 2.0_f64.powi(power);
        let model = fit(unit);
        assert_eq!(model.components(), one.components(), "2^{power}");
        let wanted: Vec<f64> = one.variances().iter().map(|v| v * unit * unit).collect();
        assert_eq!(model.variances(), wanted, "2^{power}");
    }
    for large in [1e200, 1.7e308] {
        let rows = array![[1.0, large], [2.0, -large], [3.0, large], [4.0, 0.5 * large]];
        let error = try_fit(&Pca::count(1), &rows).unwrap_err();
        assert!(error.contains("\"x1\" is too large"), "{error}");
    }
}

#[test]
fn components_of_no_features_are_refused() {
    let rows = Array2::zeros((4, 0));
    for pca in [Pca::default(), Pca::count(1)] {
        let samples = Samples::new(rows.view(), &[], Target::Absent).unwrap();
        let error = pca.fit(samples, 0).unwrap_err();
        let is_named = matches!(error, FitError::TooFew { what: "features", given: 0, needed: 1 });
        assert!(is_named, "{error}");
    }
}

#[test]
fn the_others_pass_a_transformer_of_some_columns() {
    let rows = array![[1.0, 10.0, 5.0], [3.0, 20.0, 6.0]];
    let fitted = fit(&ColumnTransform::new(["x2", "x0"], MinMaxScaler), &rows);
    assert_eq!(fitted.output_names(), ["x2", "x0", "x1"]);
    assert_eq!(fitted.transform(rows.view()).unwrap(), array![[0.0, 0.0, 10.0], [1.0, 1.0, 20.0]]);
    assert!(try_fit(&ColumnTransform::new(["x9"], MinMaxScaler), &rows).is_err());
    assert!(try_fit(&ColumnTransform::new(["x1", "x1"], MinMaxScaler), &rows).is_err());
}

#[test]
fn everything_is_learnt_from_the_rows_of_the_fold_alone() {
    let data = Data::load("iris");
    let samples = data.samples();
    let rows: Vec<usize> = (0..150).filter(|row| row % 5 != 0).collect();
    let names = samples.names().to_vec();
    let pipeline = Pipeline::of(LogisticRegression::default())
        .after("fill", Imputer::new(Fill::Median))
        .after("some", ColumnTransform::new([names[0].clone()], RobustScaler::default()))
        .after("products", PolynomialFeatures::default())
        .after("scale", StandardScaler)
        .after("components", Pca::count(3));
    let model = pipeline.fit(samples.with_rows(&rows).unwrap(), 0).unwrap();
    // The same from a table that never had the other rows.
    let alone = samples.with_rows(&rows).unwrap().to_owned_samples();
    let other = pipeline.fit(alone.as_samples(), 0).unwrap();
    assert_eq!(model.save().unwrap(), other.save().unwrap());
    let loaded = Loader::default().model(&model.save().unwrap()).unwrap();
    let asked = data.features.view();
    assert_eq!(loaded.predict(asked).unwrap(), model.predict(asked).unwrap());
}

#[test]
fn a_weight_counts_like_that_many_rows_in_scalers_and_components() {
    let data = Data::load("iris");
    let rows: Vec<usize> = (0..150).flat_map(|row| std::iter::repeat_n(row, row % 3)).collect();
    let weights: Vec<f64> = (0..150).map(|row| f64::from(row % 3)).collect();
    let transformers: [&dyn Transformer; 3] =
        [&StandardScaler, &Pca::count(2), &Imputer::new(Fill::Mean)];
    for transformer in transformers {
        let weighted = data.samples().with_weights(&weights).unwrap();
        let samples = data.samples();
        let made = [weighted, samples.with_rows(&rows).unwrap()].map(|samples| {
            let fitted = transformer.fit(samples, 0).unwrap();
            fitted.transform(data.features.view()).unwrap()
        });
        assert!(made[0].iter().zip(&made[1]).all(|(a, b)| (a - b).abs() < 1e-9), "{transformer:?}");
    }
}

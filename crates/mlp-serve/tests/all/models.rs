//! Tabular models: rows of numbers.

use std::sync::Arc;

use mlp_core::{Model, ModelError, Scratch, Signature, VersionSource};
use mlp_serve::{ServeError, Server};
use ndarray::{ArrayView2, ArrayViewMut2, Axis};

use crate::support::{V1, queued};

#[derive(Debug)]
struct Sum(Signature);

impl Model for Sum {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.0.check_shapes(&rows, &out)?;
        out.column_mut(0).assign(&rows.sum_axis(Axis(1)));
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.0
    }
}

fn serve(cache: usize) -> Server<dyn Model> {
    let model: Arc<dyn Model> = Arc::new(Sum(Signature::regressor(["a", "b"], "sum")));
    Server::builder()
        .with_options(queued().with_cache_entries(cache))
        .with_warm_up([vec![0.0, 0.0]])
        .fixed(V1, VersionSource::shared(model))
        .unwrap()
}

#[test]
fn a_model_behind_a_trait_object_answers_rows() {
    let server = serve(0);
    let rows = (0..100).map(|n| vec![f64::from(n), 1.0]);
    for (n, reply) in (0..100).zip(server.predict_batch(rows)) {
        assert_eq!(reply.unwrap().output, [f64::from(n) + 1.0]);
    }
}

#[test]
fn rows_of_another_shape_or_with_nan_are_refused_by_name() {
    let server = serve(10);
    for row in [vec![], vec![1.0], vec![1.0; 3], vec![f64::NAN, 1.0], vec![1.0, f64::INFINITY]] {
        let error = server.predict(row).unwrap_err();
        assert!(matches!(error, ServeError::InvalidInput { version: V1, .. }), "{error}");
    }
    let error = server.predict(vec![1.0]).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "a row has 1 features, the model takes 2");
}

/// Puts the given value out, whatever comes in.
#[derive(Debug)]
struct Always(Signature, f64);

impl Model for Always {
    fn predict_into(
        &self,
        _: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        out.fill(self.1);
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.0
    }
}

#[test]
fn what_is_not_finite_comes_out_as_the_model_said_it() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let model: Arc<dyn Model> = Arc::new(Always(Signature::regressor(["a"], "y"), value));
        let server = Server::fixed(V1, VersionSource::shared(model)).unwrap();
        let answers = server.predict_batch((0..10).map(|n| vec![f64::from(n)]));
        for answer in answers {
            assert_eq!(answer.unwrap().output[0].to_bits(), value.to_bits());
        }
    }
}

#[test]
fn minus_zero_finds_what_zero_left_in_the_cache() {
    let server = serve(10);
    assert!(!server.predict(vec![0.0, 1.0]).unwrap().cached);
    assert!(server.predict(vec![-0.0, 1.0]).unwrap().cached);
    assert!(!server.predict(vec![1.0, 0.0]).unwrap().cached);
}

/// Puts the sum of the features and an offset out.
#[derive(Debug)]
struct Offset(Signature, f64);

impl Model for Offset {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.0.check_shapes(&rows, &out)?;
        out.column_mut(0).assign(&(&rows.sum_axis(Axis(1)) + self.1));
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.0
    }
}

#[test]
fn identical_inputs_never_share_answers_across_models_versions_or_shapes() {
    let model = |names: &[&'static str], offset| -> VersionSource<dyn Model> {
        let model: Arc<dyn Model> =
            Arc::new(Offset(Signature::regressor(names.iter().copied(), "sum"), offset));
        VersionSource::shared(model)
    };
    let options = || queued().with_cache_entries(100);
    let serve = |source| Server::builder().with_options(options()).fixed(V1, source).unwrap();
    // Two models under one version number, each with a server of its own.
    let (one, other) = (serve(model(&["a", "b"], 10.0)), serve(model(&["a", "b"], 20.0)));
    // Two versions of one server, and shapes of which one begins as the other.
    one.host().prepare(crate::support::V2, model(&["a", "b"], 30.0)).unwrap();
    one.host().prepare(crate::support::V3, model(&["a", "b", "c"], 40.0)).unwrap();
    let pinned = |version| mlp_serve::Request::new().with_pin(version);
    for turn in 0..2 {
        for (answer, expected) in [
            (one.predict(vec![1.0, 2.0]), 13.0),
            (other.predict(vec![1.0, 2.0]), 23.0),
            (one.predict_for(&pinned(crate::support::V2), vec![1.0, 2.0]), 33.0),
            (one.predict_for(&pinned(crate::support::V3), vec![1.0, 2.0, 0.0]), 43.0),
            (one.predict_for(&pinned(crate::support::V3), vec![1.0, 0.0, 2.0]), 43.0),
        ] {
            let answer = answer.unwrap();
            assert_eq!((answer.output, answer.cached), (vec![expected], turn == 1));
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_bits_are_answered_as_the_model_does_or_refused_and_found_again(
        bits in proptest::collection::vec(proptest::prelude::any::<u64>(), 1..20)
    ) {
        let server = serve(100);
        for bits in bits.into_iter().chain([0, 1 << 63, 0x7ff0_0000_0000_0001]) {
            let value = f64::from_bits(bits);
            for turn in 0..2 {
                let reply = server.predict(vec![value, 1.0]);
                if !value.is_finite() {
                    let is_refused = matches!(reply, Err(ServeError::InvalidInput { .. }));
                    proptest::prop_assert!(is_refused, "{value}: {reply:?}");
                    continue;
                }
                let answer = reply.unwrap();
                proptest::prop_assert_eq!(answer.output[0].to_bits(), (value + 1.0).to_bits());
                proptest::prop_assert!(answer.cached || turn == 0, "{}", value);
            }
        }
    }
}

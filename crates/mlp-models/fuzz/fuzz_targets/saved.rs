#![no_main]
//! Any bytes are a model or an error. A model that is read predicts or refuses, and survives being saved and read again.

use libfuzzer_sys::fuzz_target;
use mlp_core::{ModelExt, Saved};
use mlp_models::Loader;
use ndarray::Array2;

const KINDS: [&str; 11] = [
    "mlp-models/trees",
    "mlp-models/gradient_boosting",
    "mlp-models/logistic",
    "mlp-models/linear",
    "mlp-models/dummy",
    "mlp-models/perceptron",
    "mlp-models/pipeline",
    "mlp-models/voting",
    "mlp-models/stacking",
    "mlp-models/calibrated",
    "mlp-models/threshold",
];

fuzz_target!(|bytes: &[u8]| {
    let loader = Loader::default();
    // As an envelope, and as the body of each kind, so that the fuzzer need not find the envelope first.
    let envelope = Saved::from_bytes(bytes).ok();
    let bodies = KINDS.iter().filter_map(|kind| Saved::new(*kind, 1, bytes.to_vec()).ok());
    for saved in envelope.into_iter().chain(bodies) {
        let Ok(model) = loader.model(&saved) else { continue };
        let n_features = model.signature().n_features();
        for value in [0.0, -1.5, f64::NAN] {
            let _ = model.predict(Array2::from_elem((6, n_features), value).view());
        }
        // Numbers that JSON cannot write, such as infinity, may be refused when they are read again.
        if let Ok(saved) = model.save()
            && let Ok(again) = loader.model(&saved)
        {
            assert_eq!(again.save().unwrap(), saved);
        }
    }
});

//! Saved models that lie about how long they are.

use std::hint::black_box;
use std::sync::Arc;

use mlp_core::{Estimator, ModelExt, Saved};
use mlp_models::{
    GradientBoosting, Loader, LogisticRegression, Pipeline, RandomForest, StandardScaler,
};

use crate::data::Data;
use crate::{memory, peak};

fn models() -> Vec<Vec<u8>> {
    let data = Data::load("iris");
    let scaled = Pipeline::of(LogisticRegression::default()).after("scale", StandardScaler);
    let estimators: [Arc<dyn Estimator>; 3] = [
        Arc::new(scaled),
        Arc::new(RandomForest::default().with_trees(2).with_max_depth(2)),
        Arc::new(GradientBoosting::default().with_rounds(2).with_max_leaves(3)),
    ];
    let bytes = |estimator: &Arc<dyn Estimator>| {
        estimator.fit(data.samples(), 1).unwrap().save().unwrap().to_bytes()
    };
    estimators.iter().map(bytes).collect()
}

/// Reads the bytes, and predicts if they are a model after all.
fn read(bytes: &[u8]) -> bool {
    let model = Saved::from_bytes(bytes).and_then(|saved| Loader::default().model(&saved));
    model.is_ok_and(|model| model.predict_row(&vec![1.0; model.signature().n_features()]).is_ok())
}

#[test]
fn a_length_of_0xffffffff_or_more_allocates_nothing() {
    let _memory = memory();
    let before = peak();
    let (mut tried, mut refused) = (0, 0);
    for bytes in models() {
        assert!(read(&bytes), "the control");
        // Any four and any eight bytes, lengths among them.
        for length in [4, 8] {
            for place in 0..=bytes.len() - length {
                let mut lying = bytes.clone();
                lying[place..place + length].fill(0xff);
                tried += 1;
                refused += usize::from(!read(&lying));
            }
        }
        // Any whole number of the JSON inside; the lengths around it are made to fit for models that are JSON alone.
        let saved = Saved::from_bytes(&bytes).unwrap();
        let Ok(text) = std::str::from_utf8(saved.body()) else { continue };
        let numbers = text.match_indices(|c: char| c.is_ascii_digit()).map(|(place, _)| place);
        for place in numbers {
            let end = text[place..].find(|c: char| !c.is_ascii_digit()).unwrap() + place;
            for huge in ["4294967295", "18446744073709551615"] {
                let lying = format!("{}{huge}{}", &text[..place], &text[end..]);
                let saved = Saved::new(saved.kind(), 1, lying.into_bytes()).unwrap();
                tried += 1;
                refused += usize::from(!read(&saved.to_bytes()));
            }
        }
    }
    assert!(refused > tried / 3, "{refused} of {tried} were refused");
    if let (Some(before), Some(after)) = (before, peak()) {
        assert!(after - before < 1.0, "{} GiB more", after - before);
        // The control: a length that is believed shows.
        let believed: Vec<u8> = Vec::with_capacity(0xffff_ffff);
        black_box(&believed);
        assert!(peak().unwrap() - before > 3.0, "the measure sees nothing");
    }
}

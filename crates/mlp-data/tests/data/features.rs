//! Features offline and online, and stores that survive a restart.

use std::sync::Arc;

use mlp_core::{FittedTransformer, FittedTransformerExt, Saved, Scratch, Transformer, random};
use mlp_data::{
    DerivedFeatures, FeatureSet, FeatureSetSpec, FeatureStore, Fill, FillMissing, Formula, Table,
    load_transform,
};
use ndarray::{Array2, array};

/// Rows with missing values, zeros to divide by, and large and small magnitudes.
fn table(n_rows: usize) -> Table {
    let mut generator = random::stream(11, 0);
    let features =
        Array2::from_shape_simple_fn((n_rows, 4), || match random::below(&mut generator, 12) {
            0 => f64::NAN,
            1 => 0.0,
            _ => {
                (1.0 + random::normal(&mut generator))
                    * 10_f64.powi(random::below(&mut generator, 9) as i32 - 4)
            }
        });
    Table::new(["a", "b", "c", "d"], features).unwrap().with_values("y", vec![1.0; n_rows]).unwrap()
}

fn store() -> (FeatureStore, Arc<FeatureSet>) {
    let store = FeatureStore::new();
    let train = table(500);
    let filled = FillMissing::new(Fill::Median).fit(train.samples().unwrap(), 0).unwrap();
    let filled = store.register_transform("fill", filled).unwrap();
    let derived = DerivedFeatures::new([
        ("a_per_b", Formula::ratio("a", "b")),
        ("cd", Formula::product("c", "d")),
        ("a_minus_d", Formula::Difference("a".to_owned(), "d".to_owned())),
        ("log_c", Formula::Log1p("c".to_owned())),
        ("b2", Formula::Square("b".to_owned())),
    ])
    .unwrap();
    let derived = store.register_transform("derived", Arc::new(derived)).unwrap();
    let spec = FeatureSetSpec::new(["a", "b", "c", "d"])
        .with_transform(&filled)
        .with_transform(&derived)
        .with_features(["cd", "a", "a_per_b", "log_c", "b2", "a_minus_d", "d"]);
    let set = store.register_set("wine", spec).unwrap();
    (store, set)
}

fn bits(values: impl IntoIterator<Item = f64>) -> Vec<u64> {
    values.into_iter().map(f64::to_bits).collect()
}

#[test]
fn offline_and_online_features_differ_in_no_bit_over_10_000_rows() {
    let (_, set) = store();
    let table = table(10_000);
    let offline = set.compute(&table).unwrap();
    let mut scratch = Scratch::new();
    let mut online = vec![0.0; offline.n_features()];
    for (raw, expected) in table.features().rows().into_iter().zip(offline.features().rows()) {
        set.compute_row(&raw.to_vec(), &mut online, &mut scratch).unwrap();
        assert_eq!(bits(online.iter().copied()), bits(expected.iter().copied()));
    }
}

#[test]
fn a_feature_is_what_its_formula_says_of_filled_values() {
    let (store, set) = store();
    let medians = store.transform(&"fill@1".parse().unwrap()).unwrap();
    let filled = medians.transform(Array2::from_elem((1, 4), f64::NAN).view()).unwrap();
    let raw =
        table(1).replace_features(["d", "c", "b", "a"], array![[4.0, f64::NAN, 2.0, 1.0]]).unwrap();
    let features = set.compute(&raw).unwrap();
    let c = filled[[0, 2]];
    assert_eq!(features.column("a_per_b").unwrap()[0], 0.5);
    assert_eq!(features.column("cd").unwrap()[0], c * 4.0);
    assert_eq!(features.column("a_minus_d").unwrap()[0], -3.0);
    assert_eq!(features.column("log_c").unwrap()[0].to_bits(), c.ln_1p().to_bits());
    assert_eq!(features.target(), raw.target(), "the target stays");
}

#[test]
fn a_store_reloaded_from_disk_gives_the_same_bits() {
    let (store, set) = store();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.mlp");
    store.save_file(&path).unwrap();
    let again = FeatureStore::load_file(&path, load_transform).unwrap();
    assert_eq!(again.transforms(), store.transforms());
    let (before, after) = (set.compute(&table(1000)).unwrap(), again.latest_set("wine").unwrap());
    let after = after.compute(&table(1000)).unwrap();
    assert_eq!(bits(before.features().iter().copied()), bits(after.features().iter().copied()));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

/// Whoever saves last has seen what all others registered before they saved.
#[test]
fn an_older_state_of_a_store_never_replaces_a_newer_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.mlp");
    for round in 0..20 {
        let (store, _) = store();
        let register = |number: usize| {
            let fill = FillMissing::new(Fill::Constant(number as f64));
            let filled = fill.fit(table(10).samples().unwrap(), 0).unwrap();
            store.register_transform(&format!("fill {number}"), filled).unwrap();
            store.save_file(&path).unwrap();
        };
        std::thread::scope(|scope| {
            (0..4).for_each(|number| drop(scope.spawn(move || register(number))));
        });
        let again = FeatureStore::load_file(&path, load_transform).unwrap();
        assert_eq!(again.transforms(), store.transforms(), "round {round}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn a_store_whose_numbers_were_written_in_another_way_keeps_its_hashes() {
    let store = FeatureStore::new();
    let fit = |value| {
        FillMissing::new(Fill::Constant(value)).fit(table(10).samples().unwrap(), 0).unwrap()
    };
    store.register_transform("fill", fit(1e20)).unwrap();
    let saved = store.to_saved().unwrap();
    // As versions of serde_json before 1.0.147 have it, and another number.
    for (number, is_the_same) in [("1e20", true), ("1e21", false)] {
        let mut body: serde_json::Value = serde_json::from_slice(saved.body()).unwrap();
        let transform = &mut body["transforms"][0];
        let hex = transform["saved"].as_str().unwrap();
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let known = Saved::from_bytes(&bytes).unwrap();
        let text = String::from_utf8(known.body().to_vec()).unwrap();
        assert!(text.contains("1e+20"), "{text}");
        let text = text.replace("1e+20", number).into_bytes();
        let bytes = Saved::new(known.kind(), known.format(), text).unwrap().to_bytes();
        let hash = blake3::hash(&bytes).to_hex().to_string();
        transform["saved"] =
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
        transform["hash"] = hash.clone().into();
        let body = serde_json::to_vec(&body).unwrap();
        let older = Saved::new(saved.kind(), saved.format(), body).unwrap();
        let read = FeatureStore::from_saved(&older, |saved| {
            // A loader that gives the same transform whatever it is asked for.
            load_transform(&Saved::new(saved.kind(), saved.format(), known.body().to_vec())?)
        });
        assert_eq!(read.is_ok(), is_the_same, "{number}");
        if let Ok(read) = read {
            let version = |value| read.register_transform("fill", fit(value)).unwrap().to_string();
            assert_eq!(
                [version(1e20), version(1e21), version(1e20)],
                ["fill@1", "fill@2", "fill@1"]
            );
            assert!(String::from_utf8_lossy(read.to_saved().unwrap().body()).contains(&hash));
        }
    }
}

#[test]
fn a_damaged_store_is_refused() {
    let (store, _) = store();
    let saved = store.to_saved().unwrap();
    let body = String::from_utf8(saved.body().to_vec()).unwrap();
    let reload = |body: String| {
        let saved = Saved::new(saved.kind(), saved.format(), body.into_bytes()).unwrap();
        FeatureStore::from_saved(&saved, load_transform)
    };
    assert!(reload(body.clone()).is_ok());
    // "MLP\x01" opens each envelope; another letter is other content under the same hash.
    let error = reload(body.replacen("4d4c5001", "4d4c5002", 1)).unwrap_err();
    assert!(error.to_string().contains("its bytes are not what its hash says"), "{error}");
    assert!(reload(body.replacen("\"fill@1\"", "\"fill@2\"", 1)).is_err());
    assert!(reload(body[..body.len() / 2].to_owned()).is_err());
    let newer = Saved::new(saved.kind(), 2, body.into_bytes()).unwrap();
    assert!(FeatureStore::from_saved(&newer, load_transform).is_err());
    let mut bytes = saved.to_bytes();
    bytes.truncate(bytes.len() - 1);
    assert!(Saved::from_bytes(&bytes).is_err());
}

#[test]
fn the_same_state_is_the_same_version_and_another_state_the_next() {
    let (store, set) = store();
    let fit =
        |n_rows| FillMissing::new(Fill::Median).fit(table(n_rows).samples().unwrap(), 0).unwrap();
    assert_eq!(store.register_transform("fill", fit(500)).unwrap().to_string(), "fill@1");
    assert_eq!(store.register_transform("fill", fit(400)).unwrap().to_string(), "fill@2");
    assert_eq!(store.register_set("wine", set.spec().clone()).unwrap().name(), set.name());
    let hash = |name: &str| store.transform_hash(&name.parse().unwrap()).unwrap();
    assert_ne!(hash("fill@1"), hash("fill@2"));
}

#[test]
fn a_selection_of_features_is_the_next_version_of_its_set() {
    let (store, set) = store();
    let chosen = store.register_selection(set.name(), &["d", "cd"]).unwrap();
    assert_eq!(chosen.name().to_string(), "wine@2");
    let (all, some) = (set.compute(&table(50)).unwrap(), chosen.compute(&table(50)).unwrap());
    assert_eq!(some.names(), ["d", "cd"]);
    assert_eq!(bits(all.column("cd").unwrap().to_vec()), bits(some.column("cd").unwrap().to_vec()));
    assert_eq!(store.latest_set("wine").unwrap().name(), chosen.name());
    assert!(store.register_selection(set.name(), &["nope"]).is_err());
    assert!(store.register_selection::<&str>(set.name(), &[]).is_err());
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let (store, set) = store();
    let check = |spec: FeatureSetSpec, expected: &str| {
        assert_eq!(store.register_set("s", spec).unwrap_err().to_string(), expected);
    };
    let derived = "derived@1".parse().unwrap();
    check(
        FeatureSetSpec::new(["a"]).with_features(["b"]),
        "there is no column \"b\"; there are \"a\"",
    );
    check(
        FeatureSetSpec::new(["a"]).with_transform(&derived).with_features(["a"]),
        "there is no column \"b\"; there are \"a\"",
    );
    check(
        FeatureSetSpec::new(["a"]).with_transform(&"x@1".parse().unwrap()).with_features(["a"]),
        "transform \"x@1\" is not in the store",
    );
    check(
        FeatureSetSpec::new(["a", "a"]).with_features(["a"]),
        "the raw column \"a\" stands twice",
    );
    check(FeatureSetSpec::new(["a"]).with_features(["a", "a"]), "the feature \"a\" stands twice");
    check(FeatureSetSpec::new(["a"]), "the feature set s@1 is invalid: it has no features");
    for bad in ["", "a@b", "a\n"] {
        assert!(store.register_set(bad, set.spec().clone()).is_err(), "{bad:?} was taken");
    }
    for bad in ["a", "a@", "a@0", "a@x", "@1"] {
        assert!(bad.parse::<mlp_data::VersionedName>().is_err(), "{bad:?} was taken");
    }
    let mut out = [0.0; 7];
    assert!(set.compute_row(&[1.0], &mut out, &mut Scratch::new()).is_err());
    assert!(set.compute_row(&[1.0; 4], &mut out[..3], &mut Scratch::new()).is_err());
    assert!(set.compute(&table(3).select_columns(&["a"]).unwrap()).is_err());
    assert!(set.save().is_err());
}

#[test]
fn a_fill_learns_from_finite_values_alone() {
    let t = Table::new(["x"], array![[1.0], [f64::NAN], [f64::INFINITY], [4.0]]).unwrap();
    let learnt = |fill| {
        let fitted = FillMissing::new(fill).fit(t.samples().unwrap(), 0).unwrap();
        let out = fitted.transform(t.features()).unwrap();
        assert_eq!(out[[2, 0]], f64::INFINITY);
        out[[1, 0]]
    };
    assert_eq!(learnt(Fill::Mean), 2.5);
    assert_eq!(learnt(Fill::Median), 2.5);
    assert_eq!(learnt(Fill::Constant(-1.0)), -1.0);
    let empty = Table::new(["x"], array![[f64::NAN]]).unwrap();
    assert!(FillMissing::new(Fill::Mean).fit(empty.samples().unwrap(), 0).is_err());
}

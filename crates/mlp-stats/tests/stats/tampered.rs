//! Stored states that were tampered with: refused where they cannot be, harmless otherwise.

use mlp_stats::{
    Adwin, AdwinConfig, CanaryEvidence, Ddm, DdmConfig, DriftDetector, Eddm, EddmConfig, HddmA,
    HddmAConfig, HddmW, HddmWConfig, MeanDifferenceEvidence, Moments, PageHinkley,
    PageHinkleyConfig, QuantileSketch, SprtPlan, SprtState,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The state with a part of its text replaced, if it can still be read.
fn tampered<T: Serialize + DeserializeOwned>(state: &T, part: &str, instead: &str) -> Option<T> {
    let text = serde_json::to_string(state).unwrap();
    assert!(text.contains(part), "{part} is not in {text}");
    let state: T = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&state).unwrap(), text);
    serde_json::from_str(&text.replacen(part, instead, 1)).ok()
}

fn refused<T: Serialize + DeserializeOwned>(state: &T, changes: &[(&str, &str)]) {
    for (part, instead) in changes {
        assert!(tampered(state, part, instead).is_none(), "{part} became {instead}");
    }
}

#[test]
fn evidence_that_no_constructor_makes_is_refused() {
    let plan = SprtPlan::new(0.01, 0.05, 0.01, 0.05).unwrap();
    let changes = [
        ("\"p0\":0.01", "\"p0\":0.06"),
        ("\"alpha\":0.01", "\"alpha\":0.0"),
        ("\"beta\":0.05", "\"beta\":0.995"),
        ("{", "{\"more\":1,"),
    ];
    refused(&plan, &changes);
    refused(&plan.start(), &changes);
    refused(&plan.start(), &[("\"events\":0", "\"events\":1")]);
    let mut means = MeanDifferenceEvidence::new(1.5, 2.5).unwrap();
    means.record(30.0, 1.0).unwrap();
    refused(
        &means,
        &[
            ("\"variance\":1.5", "\"variance\":0.0"),
            ("\"prior_variance\":2.5", "\"prior_variance\":-1.0"),
            ("\"greatest\":", "\"greatest\":-"),
            ("{", "{\"more\":1,"),
        ],
    );
    let canary = CanaryEvidence::new(0.1, 1.5).unwrap();
    refused(&canary, &[("\"ratio\":1.5", "\"ratio\":0.0"), ("{", "{\"more\":1,")]);
}

#[test]
fn detectors_whose_configuration_no_constructor_takes_are_refused() {
    let mut ddm = Ddm::new(DdmConfig::default()).unwrap();
    ddm.record(true);
    refused(
        &ddm,
        &[
            ("\"warning_threshold\":2.0", "\"warning_threshold\":4.0"),
            ("\"drift_threshold\":3.0", "\"drift_threshold\":-3.0"),
            ("\"mean\":1.0", "\"mean\":1.5"),
            ("\"count\":", "\"more\":1,\"count\":"),
        ],
    );
    let eddm = Eddm::new(EddmConfig::default()).unwrap();
    refused(&eddm, &[("\"alpha\":0.95", "\"alpha\":0.8"), ("\"beta\":0.9", "\"beta\":0.0")]);
    let mut hddm = HddmA::new(HddmAConfig::default()).unwrap();
    hddm.record(true);
    refused(
        &hddm,
        &[
            ("\"drift_confidence\":0.001", "\"drift_confidence\":0.0"),
            ("\"warning_confidence\":0.005", "\"warning_confidence\":1.0"),
            ("\"mean\":1.0", "\"mean\":-1.0"),
            ("{\"part\":{\"count\":1", "{\"part\":{\"count\":2"),
            ("\"greatest\":{\"part\":{\"count\":1", "\"greatest\":{\"part\":{\"count\":0"),
        ],
    );
    let mut hddm = HddmW::new(HddmWConfig::default()).unwrap();
    hddm.record(true);
    refused(
        &hddm,
        &[
            ("\"lambda\":0.05", "\"lambda\":1.0"),
            ("\"mean\":1.0", "\"mean\":1.5"),
            ("\"squares\":0.", "\"squares\":-0."),
            ("\"squares\":0.", "\"squares\":1."),
            ("\"since\":{\"mean\":null", "\"since\":{\"mean\":-1.0"),
        ],
    );
    let test = PageHinkley::new(PageHinkleyConfig::default()).unwrap();
    refused(
        &test,
        &[
            ("\"threshold\":50.0", "\"threshold\":0.0"),
            ("\"alpha\":0.9999", "\"alpha\":2.0"),
            ("{", "{\"more\":1,"),
        ],
    );
}

#[test]
fn counts_at_their_end_stay_there() {
    let most = u64::MAX.to_string();
    let full = format!("\"count\":{most}");
    let mut moments = Moments::default();
    [2.0, f64::NAN].into_iter().for_each(|value| moments.add(value));
    let mut full_moments = tampered(&moments, "\"count\":1", &full).unwrap();
    full_moments.add(3.0);
    full_moments.merge(&moments);
    assert_eq!((full_moments.count(), full_moments.left_out()), (u64::MAX, 2));
    let left_out = format!("\"left_out\":{most}");
    let mut full_moments = tampered(&moments, "\"left_out\":1", &left_out).unwrap();
    full_moments.add(f64::NAN);
    full_moments.merge(&moments);
    assert_eq!((full_moments.count(), full_moments.left_out()), (2, u64::MAX));
    refused(
        &moments,
        &[("\"squares\":0.0", "\"squares\":-1.0"), ("\"mean\":2.0", "\"mean\":2e200")],
    );

    let mut state = SprtPlan::new(0.01, 0.05, 0.01, 0.05).unwrap().start();
    state.record(true);
    for events in ["1", &most] {
        let full = format!("\"events\":{events},\"trials\":{most}");
        let mut state: SprtState = tampered(&state, "\"events\":1,\"trials\":1", &full).unwrap();
        state.record(true);
    }
    let mut means = MeanDifferenceEvidence::new(1.0, 1.0).unwrap();
    means.record(2.0, 1.0).unwrap();
    let mut full_means = tampered(&means, "\"pairs\":1", &format!("\"pairs\":{most}")).unwrap();
    full_means.record(2.0, 1.0).unwrap();
    full_means.merge(&means).unwrap();

    let mut ddm = Ddm::new(DdmConfig::default()).unwrap();
    ddm.record(false);
    tampered(&ddm, "\"count\":1", &full).unwrap().record(true);
    let mut eddm = Eddm::new(EddmConfig::default()).unwrap();
    eddm.record(true);
    tampered(&eddm, "\"count\":1", &full).unwrap().record(true);
    tampered(&eddm, "\"last_error\":1", &format!("\"last_error\":{most}")).unwrap().record(true);
    let mut adwin = Adwin::new(AdwinConfig::default()).unwrap();
    adwin.update(1.0).unwrap();
    let mut full_adwin = tampered(&adwin, "\"updates\":1", &format!("\"updates\":{most}")).unwrap();
    full_adwin.update(1.0).unwrap();
}

#[test]
fn windows_whose_buckets_cannot_be_are_refused() {
    let mut adwin = Adwin::new(AdwinConfig { max_buckets: 1, ..AdwinConfig::default() }).unwrap();
    for _ in 0..4 {
        adwin.update(1.0).unwrap();
    }
    let empty = "{\"totals\":[],\"deviations\":[]}";
    let end = format!("],\"width\":{}", adwin.width());
    refused(&adwin, &[(&end, &format!(",{empty}{end}"))]);
    // Sixty-three buckets of doubling sizes, and one more of the greatest: more values than can be counted on.
    let full = format!(
        "{{\"totals\":[0.0],\"deviations\":[0.0]}}{}",
        ",{\"totals\":[0.0],\"deviations\":[0.0]}".repeat(62)
    );
    let text = serde_json::to_string(&Adwin::new(AdwinConfig::default()).unwrap()).unwrap();
    let text = text.replace("\"levels\":[]", &format!("\"levels\":[{full}]"));
    let text = text.replace("\"width\":0", &format!("\"width\":{}", (1_u64 << 63) - 1));
    assert!(serde_json::from_str::<Adwin>(&text).is_err(), "{text}");
}

#[test]
fn sketches_whose_counters_cannot_be_are_refused() {
    let mut sketch = QuantileSketch::new(0.1).unwrap();
    [-2.0, 0.0, 1.0, 3.0].into_iter().for_each(|value| sketch.add(value));
    let zeros = "0,".repeat(40);
    refused(
        &sketch,
        &[
            ("\"accuracy\":0.1", "\"accuracy\":0.0"),
            ("\"accuracy\":0.1", "\"accuracy\":0.2"),
            (&format!("\"bins\":[{zeros}"), "\"bins\":["),
            ("\"count\":2", "\"count\":3"),
            ("\"min_key\":", "\"min_key\":-90000"),
            ("\"max_key\":", "\"max_key\":90000"),
            ("\"offset\":-", "\"offset\":-9000"),
            ("\"zero_count\":1", &format!("\"zero_count\":{}", u64::MAX)),
            ("\"max\":3.0", "\"max\":-4.0"),
            ("{", "{\"more\":1,"),
        ],
    );
    let empty = r#"{"bins":[],"count":1,"min_key":0,"max_key":0,"offset":0,"bin_limit":205,"is_collapsed":false}"#;
    let text = serde_json::to_string(&sketch).unwrap();
    let start = text.find("\"store\":").unwrap() + "\"store\":".len();
    let end = start + text[start..].find('}').unwrap() + 1;
    let text = format!("{}{empty}{}", &text[..start], &text[end..]);
    assert!(serde_json::from_str::<QuantileSketch>(&text).is_err(), "{text}");
}

#[test]
fn sketches_with_more_values_than_can_be_counted_are_not_merged() {
    let mut sketch = QuantileSketch::new(0.1).unwrap();
    sketch.add(0.0);
    let many = format!("\"zero_count\":{}", 1_u64 << 62);
    let mut full = tampered(&sketch, "\"zero_count\":1", &many).unwrap();
    let other = full.clone();
    assert!(full.merge(&sketch).is_ok());
    assert!(full.merge(&other).is_err());
    assert_eq!(full.count(), (1 << 62) + 1);
    let left_out = format!("\"left_out\":{}", u64::MAX);
    let mut full = tampered(&sketch, "\"left_out\":0", &left_out).unwrap();
    full.add(f64::NAN);
    full.merge(&full.clone()).unwrap();
    assert_eq!(full.left_out(), u64::MAX);
}

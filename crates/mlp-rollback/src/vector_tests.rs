//! Published and computed values that the formulas must agree with. `MLP_VECTORS_DIR` names another folder of the same files.

use serde_json::Value;

use crate::analysis::{Analysis, Measurement, Phase};
use crate::flags::{Flag, bucket, murmur3_32, variant_bucket};
use crate::judge::{Bad, CanaryJudge, Classification};

fn cases(name: &str) -> Vec<Value> {
    let folder = std::env::var("MLP_VECTORS_DIR")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors").to_owned());
    let text = std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let cases = file["cases"].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

#[test]
fn flags_agree_with_the_vectors_of_unleash() {
    for case in cases("flag_bucketing_unleash") {
        let text = |field: &str| case["input"][field].as_str().unwrap();
        let (group, unit) = (text("group_id"), text("id"));
        let expected = &case["expected"];
        let number = |field: &str| expected[field].as_u64().unwrap() as u32;
        assert_eq!(murmur3_32(&[group, ":", unit], 0), number("murmur3_x86_32_seed0"), "{case}");
        assert_eq!(bucket(group, unit), number("bucket_1_100"), "{case}");
        assert_eq!(variant_bucket(group, unit), number("variant_bucket_1_1000_seed_86028157"));
        for (percent, is_on) in expected["enabled_at_percent"].as_object().unwrap() {
            let flag = Flag::new(group, percent.parse().unwrap()).unwrap();
            assert_eq!(flag.is_on(unit, &[]), is_on.as_bool().unwrap(), "{percent} in {case}");
        }
    }
}

#[test]
fn raising_a_flags_percentage_never_removes_anyone() {
    for unit in (0..1_000).map(|k| format!("user-{k}")) {
        let mut was_on = false;
        for percent in 0..=100 {
            let is_on = Flag::new("group", percent).unwrap().is_on(&unit, &[]);
            assert!(is_on || !was_on, "{unit} lost the flag at {percent} %");
            was_on = is_on;
        }
        assert!(was_on);
    }
    assert!(Flag::new("group", 101).is_err());
}

#[test]
fn counted_measurements_agree_with_the_vectors_of_argo() {
    for case in cases("argo_analysis_semantics") {
        let params = &case["params"];
        let limit = |field: &str| params[field].as_i64();
        let tolerated = |limit: i64| u64::try_from(limit).ok();
        let mut analysis = Analysis::new();
        if let Some(count) = limit("count") {
            analysis = analysis.with_count(count as u64);
        }
        if let Some(failures) = limit("failureLimit") {
            analysis = analysis.with_failure_limit(tolerated(failures));
        }
        if let Some(inconclusive) = limit("inconclusiveLimit") {
            analysis = analysis.with_inconclusive_limit(tolerated(inconclusive));
        }
        if let Some(errors) = limit("consecutiveErrorLimit") {
            analysis = analysis.with_consecutive_error_limit(errors as u64);
        }
        if let Some(successes) = limit("consecutiveSuccessLimit") {
            analysis = analysis.with_consecutive_success_limit(successes as u64);
        }
        let mut last = (Phase::Running, 0);
        for (index, letter) in case["measurements"].as_str().unwrap().chars().enumerate() {
            let measurement = match letter {
                'S' => Measurement::Success,
                'F' => Measurement::Failure,
                'I' => Measurement::Inconclusive,
                'E' => Measurement::Error,
                other => panic!("{other} in {case}"),
            };
            last = (analysis.measure(measurement), index as u64);
            if last.0 != Phase::Running {
                break;
            }
        }
        let phase = format!("{:?}", last.0);
        assert_eq!(phase, case["expected"]["phase"].as_str().unwrap(), "{case}");
        assert_eq!(Some(last.1), case["expected"]["after_measurement"].as_u64(), "{case}");
    }
}

#[test]
fn judged_samples_agree_with_the_vectors_of_kayenta() {
    let folder = std::env::var("MLP_VECTORS_DIR").is_ok();
    let mut classes = std::collections::BTreeSet::new();
    for case in cases("kayenta_mann_whitney") {
        let params = &case["params"];
        let sample = |field: &str| -> Vec<f64> {
            let values = case["input"][field].as_array().unwrap();
            values.iter().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect()
        };
        let pair = |field: &str| {
            let pair = params[field].as_array().unwrap();
            (pair[0].as_f64().unwrap(), pair[1].as_f64().unwrap())
        };
        let bad = match params["direction"].as_str().unwrap() {
            "increase" => Bad::Increase,
            "decrease" => Bad::Decrease,
            _ => Bad::Either,
        };
        let (low, high) = pair("effect_size_thresholds_low_high");
        let mut judge = CanaryJudge::default()
            .with_bad(bad)
            .with_tolerance(params["tolerance"].as_f64().unwrap())
            .and_then(|judge| judge.with_confidence(params["confidence"].as_f64().unwrap()))
            .and_then(|judge| judge.with_allowed_ratios(low, high))
            .unwrap();
        if params["critical"].as_bool().unwrap() {
            let (low, high) = pair("critical_thresholds_low_high");
            judge = judge.with_critical_ratios(low, high).unwrap();
        }
        let judgement = judge.judge(&sample("experiment"), &sample("control")).unwrap();
        let expected = &case["expected"];
        let class = format!("{:?}", judgement.classification);
        assert_eq!(class, expected["classification"].as_str().unwrap(), "{case}");
        classes.insert(class);
        let is_critical = expected["critical_failure"].as_bool().unwrap_or(false);
        assert_eq!(judgement.is_critical_failure, is_critical, "{case}");
        let Some(ci) = expected["ci"].as_array() else {
            assert!(judgement.shift.is_none(), "{case}");
            continue;
        };
        let shift = judgement.shift.unwrap();
        for (ours, theirs) in [(shift.low, &ci[0]), (shift.high, &ci[1])] {
            let theirs = theirs.as_f64().unwrap();
            assert!((ours - theirs).abs() <= 0.002, "{ours}, {theirs}: {case}");
        }
        match (judgement.mean_ratio, expected["mean_ratio"].as_f64()) {
            (Some(ours), Some(theirs)) => assert!((ours / theirs - 1.0).abs() < 1e-12, "{case}"),
            (ours, theirs) => assert_eq!(ours, theirs, "{case}"),
        }
    }
    assert!(folder || classes.contains(&format!("{:?}", Classification::High)));
}

//! Values computed by SciPy and Alertmanager. Another folder of vectors can be named in `MLP_VECTORS_DIR`.

use mlp_core::{Labels, Severity};
use mlp_monitor::{BurnRateTier, EventCounts, Fingerprint, Slo};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

fn load(name: &str) -> Value {
    let own = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let folder = std::env::var_os("MLP_VECTORS_DIR").map_or_else(own, PathBuf::from);
    let path = folder.join(name).with_extension("json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The cases of a file, of which there are some.
fn cases(name: &str) -> Vec<Value> {
    let cases = load(name)["cases"].as_array().unwrap().clone();
    assert!(!cases.is_empty(), "{name} has cases");
    cases
}

fn number(value: &Value) -> f64 {
    match value {
        Value::String(text) => match text.as_str() {
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            "NaN" => f64::NAN,
            other => panic!("{other} is no number"),
        },
        value => value.as_f64().unwrap(),
    }
}

fn close(given: f64, expected: f64, tolerance: f64) -> bool {
    given == expected || (given - expected).abs() <= tolerance
}

#[test]
fn vectors_burn_rate() {
    for (index, case) in cases("burn_rate").iter().enumerate() {
        let count = |name: &str| case["input"][name].as_u64().unwrap();
        let slo =
            Slo::new(number(&case["input"]["slo"]), Duration::from_secs(30 * 86_400)).unwrap();
        let long = EventCounts { bad: count("errors_long"), total: count("total_long") };
        let short = EventCounts { bad: count("errors_short"), total: count("total_short") };
        assert!(
            close(slo.burn_rate(long), number(&case["expected"]["burn_long"]), 1e-9),
            "case {index}"
        );
        assert!(
            close(slo.burn_rate(short), number(&case["expected"]["burn_short"]), 1e-9),
            "case {index}"
        );
        let [hour, minutes] = [3_600, 300].map(Duration::from_secs);
        let tier =
            BurnRateTier::new(hour, minutes, number(&case["input"]["threshold"]), Severity::P0);
        assert_eq!(
            Some(tier.fires(&slo, long, short)),
            case["expected"]["fires"].as_bool(),
            "case {index}"
        );
    }
}

#[test]
fn vectors_alertmanager_fingerprint() {
    for case in cases("alertmanager_fingerprint") {
        let labels: Labels = serde_json::from_value(case["labels"].clone()).unwrap();
        assert_eq!(
            Fingerprint::of(&labels).to_string(),
            case["expected"].as_str().unwrap(),
            "{labels:?}"
        );
    }
}

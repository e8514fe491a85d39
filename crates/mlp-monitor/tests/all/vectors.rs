//! Values computed by statsmodels, SciPy and Alertmanager. Another folder of vectors can be named in `MLP_VECTORS_DIR`.

use mlp_core::{Labels, Severity};
use mlp_monitor::{
    BurnRateTier, EventCounts, Fingerprint, HoltWinters, Season, Slo, Smoothing, robust_scale,
};
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

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn close(given: f64, expected: f64, tolerance: f64) -> bool {
    given == expected || (given - expected).abs() <= tolerance
}

#[test]
fn vectors_holt_winters_additive() {
    let file = load("holt_winters_additive");
    let parameter = |name: &str| number(&file["params"][name]);
    let tolerance = number(&file["tolerance"]["abs"]);
    let mut model = HoltWinters::new(
        Season::Additive,
        Smoothing::new(parameter("alpha"), parameter("beta"), parameter("gamma")),
        parameter("initial_level"),
        parameter("initial_trend"),
        numbers(&file["params"]["initial_seasonal"]),
    )
    .unwrap();
    let fitted = numbers(&file["expected"]["fitted"]);
    let series = numbers(&file["input"]["y"]);
    assert_eq!(fitted.len(), series.len());
    for (at, (value, expected)) in series.iter().zip(fitted).enumerate() {
        assert!(
            close(model.forecast(0), expected, tolerance),
            "{at}: {} for {expected}",
            model.forecast(0)
        );
        model.update(*value);
    }
    let forecasts = numbers(&file["expected"]["forecast_24"]);
    for (ahead, expected) in forecasts[..23].iter().enumerate() {
        assert!(close(model.forecast(ahead), *expected, tolerance), "forecast {ahead}");
    }
    // The last of the file's 24 forecasts is not level + 24 · trend + the last season of the same file, which ours is: a known difference.
    let season = numbers(&file["expected"]["season_last_24"])[23];
    let by_definition = number(&file["expected"]["level_last"])
        + 24.0 * number(&file["expected"]["trend_last"])
        + season;
    assert!(close(model.forecast(23), by_definition, tolerance));
    assert!(
        !close(model.forecast(23), forecasts[23], tolerance),
        "the difference is gone: compare all 24"
    );
}

#[test]
fn vectors_robust_zscore() {
    for case in load("robust_zscore")["cases"].as_array().unwrap() {
        let values = numbers(&case["input"]["x"]);
        let scale = robust_scale(&values).unwrap();
        assert!(
            close(scale.median, number(&case["expected"]["median"]), 1e-12),
            "{}",
            case["name"]
        );
        assert!(close(scale.mad, number(&case["expected"]["mad_raw"]), 1e-12), "{}", case["name"]);
        let expected = numbers(&case["expected"]["modified_z_0.6745"]);
        for (value, expected) in values.iter().zip(expected) {
            assert!(close(scale.z_score(*value), expected, 1e-12), "{}: {value}", case["name"]);
        }
    }
}

#[test]
fn vectors_burn_rate() {
    for (index, case) in load("burn_rate")["cases"].as_array().unwrap().iter().enumerate() {
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
    for case in load("alertmanager_fingerprint")["cases"].as_array().unwrap() {
        let labels: Labels = serde_json::from_value(case["labels"].clone()).unwrap();
        assert_eq!(
            Fingerprint::of(&labels).to_string(),
            case["expected"].as_str().unwrap(),
            "{labels:?}"
        );
    }
}

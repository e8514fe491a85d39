//! Published and computed values that the formulas must agree with. `MLP_VECTORS_DIR` names another folder of the same files.

use serde_json::Value;

use crate::analysis::{Analysis, Measurement, Phase};
use crate::evidence::{log_e_above, log_e_below, log_e_worse, log_msprt};
use crate::flags::{Flag, bucket, murmur3_32, variant_bucket};

fn cases(name: &str) -> Vec<Value> {
    let folder = std::env::var("MLP_VECTORS_DIR")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors").to_owned());
    let text = std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let cases = file["cases"].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

fn close(got: f64, case: &Value, field: &str, tolerance: f64) {
    let expected = case["expected"][field].as_f64().unwrap();
    let bound = tolerance * expected.abs().max(1.0);
    assert!((got - expected).abs() <= bound, "{field}: {got} for {expected} in {case}");
}

#[test]
fn the_one_sided_e_process_agrees_with_its_vectors() {
    let mut checked = 0;
    for case in cases("seq_beta_binomial_eprocess") {
        let params = &case["params"];
        if (params["prior_a"].as_f64(), params["prior_b"].as_f64()) != (Some(1.0), Some(1.0)) {
            continue; // Triggers use the uniform prior.
        }
        let bound = params["theta0"].as_f64().unwrap();
        let errors = case["input"]["errors"].as_u64().unwrap();
        let trials = case["input"]["n"].as_u64().unwrap();
        let above = log_e_above(errors, trials, bound);
        close(above, &case, "log_e_greater_H0_p_le_theta0", 1e-9);
        close(log_e_below(errors, trials, bound), &case, "log_e_less_H0_p_ge_theta0", 1e-9);
        for (field, alpha) in [("rollback_alpha_0.01", 0.01_f64), ("rollback_alpha_0.05", 0.05)] {
            assert_eq!(case["expected"][field].as_bool().unwrap(), above >= -alpha.ln(), "{case}");
        }
        checked += 1;
    }
    assert!(checked >= 10, "{checked} cases have the uniform prior");
}

#[test]
fn the_canary_against_its_baseline_agrees_with_its_vectors() {
    for case in cases("seq_canary_vs_baseline") {
        let number = |group: &str, field: &str| case[group][field].as_f64().unwrap();
        let log_e = log_e_worse(
            number("input", "canary_errors") as u64,
            number("input", "baseline_errors") as u64,
            number("params", "canary_weight"),
            number("params", "allowed_relative_rate"),
        );
        close(log_e, &case, "log_e", 1e-9);
        let rollback = case["expected"]["rollback_alpha_0.01"].as_bool().unwrap();
        assert_eq!(rollback, log_e >= 100_f64.ln(), "{case}");
    }
}

#[test]
fn the_mixture_test_of_two_means_agrees_with_its_vectors() {
    for case in cases("seq_msprt_normal") {
        let number = |field: &str| case["input"][field].as_f64().unwrap();
        let n = number("n_per_arm");
        let variance = if n > 0.0 { 2.0 * number("sigma2") / n } else { 0.0 };
        let log_lambda = log_msprt(number("mean_diff"), variance, number("tau2"));
        close(log_lambda.exp(), &case, "Lambda", 1e-12);
    }
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

use mlp_stats::{
    CanaryEvidence, ConfidenceSequence, RateEvidence, RateHypothesis, RatePrior, SprtDecision,
    SprtPlan, log_mixture_ratio,
};

use super::support::{Vectors, number};

#[test]
fn vectors_beta_binomial_e_process() {
    Vectors::read("seq_beta_binomial_eprocess").check(|case| {
        let prior =
            RatePrior::beta(number(case.param("prior_a")), number(case.param("prior_b"))).unwrap();
        let (errors, n) = (number(case.input("errors")) as u64, number(case.input("n")) as u64);
        for (name, hypothesis) in [
            ("log_e_greater_H0_p_le_theta0", RateHypothesis::AtMost),
            ("log_e_less_H0_p_ge_theta0", RateHypothesis::AtLeast),
            ("log_e_two_sided_H0_p_eq_theta0", RateHypothesis::Equal),
        ] {
            let mut evidence = RateEvidence::new(number(case.param("theta0")))
                .unwrap()
                .against(hypothesis)
                .with_prior(prior);
            evidence.add(errors, n);
            case.close(name, evidence.log_e_value(), case.expected(name), 1e-9, 1e-9);
            if hypothesis == RateHypothesis::AtMost {
                for (name, alpha) in [("rollback_alpha_0.01", 0.01), ("rollback_alpha_0.05", 0.05)]
                {
                    let decision = case.expected(name).as_bool().unwrap();
                    case.same(name, evidence.is_enough(alpha).unwrap(), decision);
                }
            }
        }
    });
}

#[test]
fn vectors_beta_binomial_confidence_sequence() {
    Vectors::read("seq_beta_binomial_confseq").check(|case| {
        let mut sequence = ConfidenceSequence::new(number(case.param("alpha"))).unwrap();
        sequence.add(number(case.input("errors")) as u64, number(case.input("n")) as u64);
        let interval = sequence.interval();
        case.close("lower", interval.lower, case.expected("lower"), 0.0, 1e-8);
        case.close("upper", interval.upper, case.expected("upper"), 0.0, 1e-8);
    });
}

#[test]
fn vectors_canary_against_baseline() {
    Vectors::read("seq_canary_vs_baseline").check(|case| {
        let (share, ratio) = (case.param("canary_weight"), case.param("allowed_relative_rate"));
        let mut evidence = CanaryEvidence::new(number(share), number(ratio)).unwrap();
        let count = |name: &str| number(case.input(name)) as u64;
        evidence.add(count("canary_errors"), count("baseline_errors"));
        case.close("bound", evidence.bound(), case.expected("theta0"), 0.0, 1e-9);
        case.close("log e", evidence.log_e_value(), case.expected("log_e"), 0.0, 1e-9);
        let decision = case.expected("rollback_alpha_0.01").as_bool().unwrap();
        case.same("decision", evidence.is_enough(0.01).unwrap(), decision);
    });
}

#[test]
fn vectors_msprt_normal() {
    Vectors::read("seq_msprt_normal").check(|case| {
        let input = |name: &str| number(case.input(name));
        let n = input("n_per_arm");
        let ratio = if n == 0.0 {
            0.0
        } else {
            log_mixture_ratio(input("mean_diff"), 2.0 * input("sigma2") / n, input("tau2"))
        };
        case.close("Λ", ratio.exp(), case.expected("Lambda"), 1e-12, 0.0);
        let p = (-ratio).exp().min(1.0);
        case.close("p", p, case.expected("always_valid_p_single"), 1e-12, 0.0);
    });
}

#[test]
fn vectors_sprt_bernoulli() {
    Vectors::read("seq_sprt_bernoulli").check(|case| {
        let param = |name: &str| number(case.param(name));
        let plan = SprtPlan::new(param("p0"), param("p1"), param("alpha"), param("beta")).unwrap();
        case.close("upper", plan.upper(), case.expected("upper"), 0.0, 1e-9);
        case.close("lower", plan.lower(), case.expected("lower"), 0.0, 1e-9);
        let mut state = plan.start();
        let bits = case.input("bits").as_str().unwrap().bytes();
        for bit in bits {
            if state.record(bit == b'1') != SprtDecision::GoOn {
                break;
            }
        }
        let expected = case.expected("decision").as_str().unwrap();
        match state.decision() {
            SprtDecision::AcceptNull => case.same("decision", "accept_H0_promote", expected),
            SprtDecision::RejectNull => case.same("decision", "reject_H0_rollback", expected),
            SprtDecision::GoOn => {
                let is_open = !expected.starts_with("accept") && !expected.starts_with("reject");
                assert!(is_open, "{}: undecided, expected {expected}", case.name);
            }
        }
        case.close("log ratio", state.log_likelihood_ratio(), case.expected("llr"), 0.0, 1e-9);
        let index = &case.value["expected"]["index"];
        if index.is_number() && state.decision() != SprtDecision::GoOn {
            case.close("index", state.trials() as f64 - 1.0, index, 0.0, 0.0);
        }
    });
}

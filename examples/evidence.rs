//! When is an error rate really above its bound? Rules that stop a version, judged by both their errors: how many healthy versions they stop,
//! and after how many requests they stop a bad one.
//!
//! Each rule looks after every request, as a deployment does. The bound is an error rate of 1 %.
//!
//! Run it with `cargo run --release --example evidence`.

use mlp::core::random;
use mlp::stats::{
    Alternative, Proportion, RateEvidence, RatePrior, SprtDecision, SprtPlan, two_proportions,
};

const BOUND: f64 = 0.01;
const ALPHA: f64 = 0.01;
const SEEDS: u64 = 400;

/// A rule in the course of one stream: whether it stops after the next request.
type Rule = Box<dyn FnMut(bool) -> bool>;

/// A name, and how a rule begins.
type NamedRule = (&'static str, fn() -> Rule);

fn e_process(prior: RatePrior) -> Rule {
    let mut evidence = RateEvidence::new(BOUND).expect("a bound").with_prior(prior);
    Box::new(move |is_error| {
        evidence.record(is_error);
        evidence.is_enough(ALPHA).expect("an alpha")
    })
}

fn sprt() -> Rule {
    let plan = SprtPlan::new(BOUND, 0.05, ALPHA, 0.05).expect("a plan");
    let mut state = plan.start();
    Box::new(move |is_error| match state.record(is_error) {
        SprtDecision::RejectNull => true,
        // A version that is accepted is watched anew.
        SprtDecision::AcceptNull => {
            state = plan.start();
            false
        }
        SprtDecision::GoOn => false,
    })
}

/// "More than 1 % errors among the last so many requests."
fn last_requests(window: usize) -> Rule {
    let (mut ring, mut at, mut errors) = (vec![false; window], 0, 0);
    Box::new(move |is_error| {
        errors += usize::from(is_error);
        errors -= usize::from(std::mem::replace(&mut ring[at % window], is_error));
        at += 1;
        at >= window && errors as f64 > BOUND * window as f64
    })
}

/// "The error rate so far is above 1 %, from the hundredth request on."
fn rate_so_far() -> Rule {
    let (mut errors, mut requests) = (0.0, 0.0);
    Box::new(move |is_error| {
        errors += f64::from(u8::from(is_error));
        requests += 1.0;
        requests >= 100.0 && errors / requests > BOUND
    })
}

/// "p < 0.01 in a z-test against a baseline of 10,000 requests with 1 % errors, from the hundredth request on."
fn repeated_z_test() -> Rule {
    let baseline = Proportion::new(100, 10_000).expect("counts");
    let (mut errors, mut requests) = (0, 0);
    Box::new(move |is_error| {
        errors += u64::from(is_error);
        requests += 1;
        let Ok(canary) = Proportion::new(errors, requests) else { return false };
        let test = two_proportions(canary, baseline);
        requests >= 100 && test.is_ok_and(|test| test.p_value(Alternative::Greater) < ALPHA)
    })
}

/// After how many requests each stream of this error rate is stopped, in ascending order; the greatest number where it is not.
fn stops(rule: fn() -> Rule, rate: f64, requests: u64) -> Vec<u64> {
    let stop = |seed: u64| {
        let (mut rule, mut generator) = (rule(), random::stream(seed, 0));
        (1..=requests).find(|_| rule(random::uniform(&mut generator) < rate)).unwrap_or(u64::MAX)
    };
    let mut stops: Vec<u64> = (0..SEEDS).map(stop).collect();
    stops.sort_unstable();
    stops
}

fn main() {
    println!(
        "Stopped at an error rate above 1 %, looked at after every request; {SEEDS} streams each.\n"
    );
    println!(
        "{:<34} | {:>15} | {:>15} | requests until stopped, median / 90 %",
        "", "healthy, 0.5 %", "at 1 %"
    );
    println!(
        "{:<34} | {:>15} | {:>15} | {:>13} | {:>9} | {:>9} | {:>7}",
        "rule", "false alarms", "false alarms", "at 2 %", "5 %", "10 %", "50 %"
    );
    let rules: [NamedRule; 6] = [
        ("e-process (the default)", || e_process(RatePrior::default())),
        ("e-process, uniform prior", || e_process(RatePrior::UNIFORM)),
        ("SPRT of 1 % against 5 %, repeated", sprt),
        ("> 1 % of the last 100 requests", || last_requests(100)),
        ("> 1 % so far", rate_so_far),
        ("z-test with p < 0.01", repeated_z_test),
    ];
    for (name, rule) in rules {
        let false_alarms = |rate: f64| {
            let stopped = stops(rule, rate, 5_000).iter().filter(|at| **at < u64::MAX).count();
            format!("{:.1} %", 100.0 * stopped as f64 / SEEDS as f64)
        };
        let power = |rate: f64| {
            let stops = stops(rule, rate, 20_000);
            let at = |share: u64| match stops[(SEEDS * share / 100) as usize] {
                u64::MAX => "never".to_owned(),
                requests => requests.to_string(),
            };
            format!("{} / {}", at(50), at(90))
        };
        println!(
            "{name:<34} | {:>15} | {:>15} | {:>13} | {:>9} | {:>9} | {:>7}",
            false_alarms(0.005),
            false_alarms(BOUND),
            power(0.02),
            power(0.05),
            power(0.1),
            power(0.5),
        );
    }
    println!(
        "\n10 or more of {SEEDS} stopped show that a rule stops more than 1 % (the chance of so many at 1 %: 0.8 %). Only the e-processes\n\
         keep to 1 % at every rate up to the bound, however often one looks."
    );
}

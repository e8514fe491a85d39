//! This library's side of the comparison with its peers: `benches/peers/run SUITE` starts it on inputs that it has written.
//!
//! Prints a line for each measurement: its name, the least seconds of several runs, and the result, so that both sides can be seen to compute
//! the same.

mod models;
mod monitor;
mod select;

use std::path::Path;
use std::time::Instant;

use mlp::stats::{
    Adwin, AdwinConfig, Ddm, DdmConfig, DriftDetector, DriftSignal, HddmA, HddmAConfig, Kswin,
    KswinConfig, PageHinkley, PageHinkleyConfig, ReferenceBins, accuracy, ks_two_sample, log_loss,
    roc_auc, wasserstein,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["models", folder] => models::run(Path::new(folder)),
        ["stats", folder] => stats(Path::new(folder)),
        ["monitor", folder] => monitor::run(Path::new(folder)),
        ["select", folder] => select::run(Path::new(folder)),
        // Run with the other benchmarks there is nothing to compare with.
        _ => println!("start me by benches/peers/run"),
    }
}

fn read(folder: &Path, name: &str) -> Vec<f64> {
    let path = folder.join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes"))).collect()
}

fn measure(name: &str, runs: usize, mut work: impl FnMut() -> f64) {
    let (mut least, mut result) = (f64::INFINITY, 0.0);
    for _ in 0..runs {
        let start = Instant::now();
        result = work();
        least = least.min(start.elapsed().as_secs_f64());
    }
    println!("{name}\t{least}\t{result}");
}

fn stats(folder: &Path) {
    let (first, second) = (read(folder, "first"), read(folder, "second"));
    let scores = read(folder, "scores");
    let truth: Vec<bool> = read(folder, "truth").into_iter().map(|label| label == 1.0).collect();
    let labels: Vec<usize> = truth.iter().map(|label| usize::from(*label)).collect();
    let predicted: Vec<usize> = scores.iter().map(|score| usize::from(*score > 0.5)).collect();
    let probabilities: Vec<f64> = scores.iter().flat_map(|score| [1.0 - score, *score]).collect();

    let values = |of: &[&[f64]]| -> f64 {
        let sort = |values: &&[f64]| {
            let mut values = values.to_vec();
            values.sort_unstable_by(f64::total_cmp);
            values[0]
        };
        of.iter().map(sort).sum()
    };
    // What the library sorts itself: bits that order like the values.
    let keys = |of: &[&[f64]]| -> f64 {
        let sort = |values: &&[f64]| {
            let mut keys: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
            keys.sort_unstable();
            f64::from_bits(keys[0])
        };
        of.iter().map(sort).sum()
    };
    measure("sort", 7, || values(&[&first, &second]));
    measure("sort_keys", 7, || keys(&[&first, &second]));
    measure("sort_one", 7, || values(&[&first]));
    measure("sort_one_keys", 7, || keys(&[&first]));
    measure("ks", 7, || ks_two_sample(&first, &second).expect("samples").statistic);
    measure("wasserstein", 7, || wasserstein(&first, &second).expect("samples"));
    measure("psi", 7, || {
        let bins = ReferenceBins::new(&first, 10).expect("a reference");
        bins.psi(&second).expect("a sample").value
    });
    measure("roc_auc", 7, || roc_auc(&truth, &scores).expect("both classes"));
    measure("log_loss", 7, || log_loss(&labels, &probabilities, 2).expect("rows"));
    measure("accuracy", 7, || accuracy(&labels, &predicted).expect("rows"));

    let (values, errors) = (read(folder, "values"), read(folder, "errors"));
    let drifts = |name: &str, start: &dyn Fn() -> Box<dyn DriftDetector>, stream: &[f64]| {
        measure(name, 5, || {
            let mut detector = start();
            let found = |value: &&f64| detector.update(**value) == Ok(DriftSignal::Drift);
            stream.iter().filter(found).count() as f64
        });
    };
    for clock in [1, 32] {
        let config = AdwinConfig { clock, ..AdwinConfig::default() };
        let start = || -> Box<dyn DriftDetector> { Box::new(Adwin::new(config).expect("ADWIN")) };
        drifts(&format!("adwin_{clock}"), &start, &values);
    }
    let config = PageHinkleyConfig::default();
    drifts("page_hinkley", &|| Box::new(PageHinkley::new(config).expect("a test")), &values);
    drifts("ddm", &|| Box::new(Ddm::new(DdmConfig::default()).expect("DDM")), &errors);
    drifts("hddm_a", &|| Box::new(HddmA::new(HddmAConfig::default()).expect("HDDM")), &errors);
    // With a window of twice the newest values nothing is drawn, and the results are the same.
    let config = KswinConfig { window_size: 60, ..KswinConfig::default() };
    drifts("kswin", &|| Box::new(Kswin::new(config).expect("KSWIN")), &values[..3_000]);
}

//! What does a study cost per trial, beside the objective? Ask and tell with ten floats, in memory, at a given length of the history.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use mlp_core::{Dimension, Direction, Params, SearchSpace};
use mlp_tune::{RandomSampler, Sampler, Study, TpeSampler};

fn study(sampler: impl Sampler + 'static) -> Study {
    let space = SearchSpace::new((0..10).map(|i| Dimension::float(format!("x{i}"), 0.0, 1.0)));
    Study::new(space.expect("ten ranges"), Direction::Minimize).with_sampler(sampler).with_seed(1)
}

fn score(params: &Params) -> f64 {
    params.iter().filter_map(|(_, value)| value.as_float()).map(|x| (x - 0.3) * (x - 0.3)).sum()
}

fn one_trial(study: &Study) {
    let trial = study.ask().expect("a trial");
    let value = score(trial.params());
    trial.tell(black_box(value)).expect("a result");
}

fn grown(trials: usize, sampler: impl Sampler + 'static) -> Study {
    let study = study(sampler);
    (0..trials).for_each(|_| one_trial(&study));
    study
}

fn overhead(criterion: &mut Criterion) {
    for trials in [100, 1_000, 3_000] {
        let mut group = criterion.benchmark_group(format!("{trials}_trials"));
        group.sample_size(10);
        // Ten trials a measurement: the history stays about as long as the name says.
        group.bench_function("tpe_10", |bencher| {
            let make = || grown(trials, TpeSampler::default());
            bencher.iter_batched_ref(
                make,
                |study| (0..10).for_each(|_| one_trial(study)),
                BatchSize::PerIteration,
            );
        });
        group.bench_function("random_10", |bencher| {
            let make = || grown(trials, RandomSampler::new());
            bencher.iter_batched_ref(
                make,
                |study| (0..10).for_each(|_| one_trial(study)),
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, overhead);
criterion_main!(benches);

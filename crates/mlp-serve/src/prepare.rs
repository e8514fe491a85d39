//! Building a version and warming it, off the path of requests.

use std::sync::Arc;
use std::thread::JoinHandle;

use mlp_core::{HostError, ModelError, Servable, VersionSource};

use crate::bisect;
use crate::cache::{LruCache, PredictionCache, QuickCache};
use crate::cost::Cost;
use crate::gate::Gate;
use crate::ledger::Ledger;
use crate::options::{CachePolicy, ServeOptions};
use crate::queue::{Queue, Replica};
use crate::sync::{Condvar, Mutex};
use crate::version::Version;
use crate::worker;

/// Builds the replicas of a version and warms them.
pub(crate) fn build<M: ?Sized + Servable>(
    ledger: Ledger,
    source: &VersionSource<M>,
    options: &ServeOptions,
    warm_up: &Mutex<Vec<M::Input>>,
    gate: &Arc<Gate>,
) -> Result<Arc<Version<M>>, HostError> {
    let version = ledger.version;
    let mut replicas = (0..options.replicas)
        .map(|index| {
            let model = source.build().map_err(|source| HostError::Build { version, source })?;
            Ok(Replica {
                index,
                model,
                served: Arc::default(),
                out: Vec::new(),
                results: Vec::new(),
            })
        })
        .collect::<Result<Vec<_>, HostError>>()?;
    let mut cost = Cost::default();
    warm(&mut replicas, &warm_up.lock(), options, &ledger, &mut cost)
        .map_err(|source| HostError::WarmUp { version, source })?;
    let cache: Option<Box<dyn PredictionCache<M::Output>>> =
        match (options.cache_entries, options.cache_policy) {
            (0, _) => None,
            (entries, CachePolicy::Quick) => Some(Box::new(QuickCache::new(entries))),
            (entries, CachePolicy::LeastRecentlyUsed) => Some(Box::new(LruCache::new(entries))),
        };
    let served = replicas.iter().map(|replica| Arc::clone(&replica.served)).collect();
    // The first replica is taken first.
    replicas.reverse();
    Ok(Arc::new(Version {
        ledger: Arc::new(ledger),
        model: Arc::clone(&replicas[replicas.len() - 1].model),
        options: options.clone(),
        cache,
        queue: Mutex::new(Queue::new(replicas, cost)),
        work: Condvar::new(),
        quiet: Condvar::new(),
        served,
        gate: Arc::clone(gate),
    }))
}

/// Runs each replica on the warm-up inputs: it must answer them all, and as the first one does.
fn warm<M: ?Sized + Servable>(
    replicas: &mut [Replica<M>],
    inputs: &[M::Input],
    options: &ServeOptions,
    ledger: &Ledger,
    cost: &mut Cost,
) -> Result<(), ModelError> {
    let mut first: Vec<M::Output> = Vec::new();
    for replica in replicas {
        let mut answers = Vec::with_capacity(inputs.len());
        for batch in batches(&*replica.model, inputs, options.max_batch_rows) {
            let started = ledger.time.monotonic();
            bisect::run(&*replica.model, batch, &mut replica.out, &mut replica.results);
            let rows = batch.iter().map(|input| replica.model.rows(input)).sum();
            cost.observe(rows, ledger.time.monotonic().saturating_sub(started));
            for result in replica.results.drain(..) {
                answers.push(result?);
            }
        }
        if first.is_empty() {
            first = answers;
        } else if let Some(input) =
            (0..first.len()).find(|&i| differ(&*replica.model, &first[i], &answers[i]))
        {
            let index = replica.index;
            return Err(ModelError::failed(format!(
                "replica {index} answers warm-up input {input} otherwise than replica 0"
            )));
        }
    }
    Ok(())
}

/// The first input by itself, then all in batches: so that the cost of a single call is known too.
fn batches<'a, M: ?Sized + Servable>(
    model: &M,
    inputs: &'a [M::Input],
    cap: usize,
) -> Vec<&'a [M::Input]> {
    let mut batches = Vec::new();
    let (mut start, mut rows) = (0, 0_usize);
    for (place, input) in inputs.iter().enumerate() {
        let more = model.rows(input).max(1);
        if place == 1 || (place > start && rows.saturating_add(more) > cap) {
            batches.push(&inputs[start..place]);
            (start, rows) = (place, 0);
        }
        rows = rows.saturating_add(more);
    }
    if start < inputs.len() {
        batches.push(&inputs[start..]);
    }
    batches
}

/// Whether two replicas gave different answers: compared bit by bit if they are numbers, else as the model compares a shadow's.
fn differ<M: ?Sized + Servable>(model: &M, one: &M::Output, other: &M::Output) -> bool {
    match (model.outputs(one), model.outputs(other)) {
        (Some(one), Some(other)) => {
            one.len() != other.len()
                || one.iter().zip(other).any(|(a, b)| a.to_bits() != b.to_bits())
        }
        _ => model.agreement(one, other).is_some_and(|agreement| agreement < 1.0),
    }
}

/// Starts a thread for each replica.
pub(crate) fn start<M: ?Sized + Servable + 'static>(
    version: &Arc<Version<M>>,
) -> Result<Vec<JoinHandle<()>>, HostError> {
    let mut threads = Vec::with_capacity(version.served.len());
    for index in 0..version.served.len() {
        let name = format!("mlp-serve {}.{index}", version.ledger.version);
        let worker = Arc::clone(version);
        match std::thread::Builder::new().name(name).spawn(move || worker::work(worker)) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                version.close();
                threads.into_iter().for_each(|thread| drop(thread.join()));
                let source = ModelError::failed(error);
                return Err(HostError::Build { version: version.ledger.version, source });
            }
        }
    }
    Ok(threads)
}

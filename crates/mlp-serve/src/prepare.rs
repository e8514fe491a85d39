//! Building a version and warming it, off the path of requests.

use std::sync::Arc;

use mlp_core::{HostError, ModelError, Servable, VersionNumber, VersionSource};

use crate::bisect;
use crate::cache;
use crate::cost::Cost;
use crate::gate::Gate;
use crate::ledger::Ledger;
use crate::options::ServeOptions;
use crate::queue::{Queue, Replica};
use crate::sync::{Condvar, Mutex};
use crate::threads::Threads;
use crate::version::Version;
use crate::worker;

/// Builds the replicas of a version and warms them.
pub(crate) fn build<M: ?Sized + Servable>(
    ledger: Ledger,
    source: VersionSource<M>,
    replicas: usize,
    context: Context<M>,
) -> Result<Arc<Version<M>>, HostError> {
    let Context { options, warm_up, gate, threads } = context;
    let version = ledger.version;
    let mut replicas = build_replicas(version, &source, 0..replicas)?;
    let mut cost = Cost::default();
    warm(&mut replicas, &warm_up.lock(), &options, &ledger, &mut cost)
        .map_err(|source| HostError::WarmUp { version, source })?;
    // The first replica is taken first.
    replicas.reverse();
    Ok(Arc::new(Version {
        ledger: Arc::new(ledger),
        model: Arc::clone(&replicas[replicas.len() - 1].model),
        cache: cache::of(&options),
        options,
        queue: Mutex::new(Queue::new(replicas, cost)),
        work: Condvar::new(),
        quiet: Condvar::new(),
        gate,
        source,
        warm_up,
        threads,
        scaling: Mutex::new(()),
    }))
}

/// What all versions of a server share.
pub(crate) struct Context<M: ?Sized + Servable> {
    pub(crate) options: ServeOptions,
    pub(crate) warm_up: Arc<Mutex<Vec<M::Input>>>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) threads: Arc<Threads>,
}

fn build_replicas<M: ?Sized + Servable>(
    version: VersionNumber,
    source: &VersionSource<M>,
    indices: impl Iterator<Item = usize>,
) -> Result<Vec<Box<Replica<M>>>, HostError> {
    indices
        .map(|index| {
            let model = source.build().map_err(|source| HostError::Build { version, source })?;
            Ok(Replica::new(index, model, Arc::default()))
        })
        .collect()
}

/// Builds more replicas of a version and warms them: they must answer as the first one does.
pub(crate) fn more<M: ?Sized + Servable>(
    version: &Version<M>,
    indices: impl Iterator<Item = usize>,
) -> Result<Vec<Box<Replica<M>>>, HostError> {
    let number = version.ledger.version;
    let mut replicas = vec![Replica::new(0, Arc::clone(&version.model), Arc::default())];
    replicas.extend(build_replicas(number, &version.source, indices)?);
    let mut cost = Cost::default();
    warm(&mut replicas, &version.warm_up.lock(), &version.options, &version.ledger, &mut cost)
        .map_err(|source| HostError::WarmUp { version: number, source })?;
    replicas.remove(0);
    Ok(replicas)
}

/// What a replica answers to the warm-up inputs; `ran` hears of each batch before it is looked at, with its rows, and is to tell its cost.
pub(crate) fn answers<M: ?Sized + Servable>(
    replica: &mut Replica<M>,
    inputs: &[M::Input],
    cap: usize,
    mut ran: impl FnMut(usize, bool),
) -> Result<Vec<M::Output>, ModelError> {
    let mut answers = Vec::with_capacity(inputs.len());
    for batch in batches(&*replica.model, inputs, cap) {
        let rows = batch.iter().map(|input| replica.model.rows(input)).sum();
        ran(rows, false);
        replica.results.clear();
        bisect::run(&*replica.model, batch, &mut replica.out, &mut replica.results);
        ran(rows, true);
        for result in replica.results.drain(..) {
            answers.push(result?);
        }
    }
    Ok(answers)
}

/// Runs each replica on the warm-up inputs, one after another: it must answer them all, and as the first one does.
fn warm<M: ?Sized + Servable>(
    replicas: &mut [Box<Replica<M>>],
    inputs: &[M::Input],
    options: &ServeOptions,
    ledger: &Ledger,
    cost: &mut Cost,
) -> Result<(), ModelError> {
    let mut first: Vec<M::Output> = Vec::new();
    for replica in replicas {
        let mut started = ledger.time.monotonic();
        let answers = answers(replica, inputs, options.max_batch_rows, |rows, is_done| {
            let now = ledger.time.monotonic();
            if is_done {
                cost.observe(rows, now.saturating_sub(started), options);
            }
            started = now;
        })?;
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

/// Starts a thread for each replica, and a watchdog if there is to be one.
pub(crate) fn start<M: ?Sized + Servable + 'static>(
    version: &Arc<Version<M>>,
) -> Result<(), HostError> {
    let indices: Vec<usize> = version.replica_health().iter().map(|it| it.replica).collect();
    let started = indices.into_iter().try_for_each(|index| {
        version.queue.lock().roster.enlist();
        let own = Arc::clone(version);
        let name = worker::name(version, index);
        version.threads.spawn(name, move |thread| worker::work(own, thread))
    });
    let watched = started.and_then(|()| {
        let Some(limit) = version.options.stuck_after else { return Ok(()) };
        let own = Arc::clone(version);
        let name = format!("mlp-serve {} watch", version.ledger.version);
        version.threads.spawn(name, move |_| own.keep_watch(limit))
    });
    watched.map_err(|error| {
        version.close();
        let source = ModelError::failed(error);
        HostError::Build { version: version.ledger.version, source }
    })
}

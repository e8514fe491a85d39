//! Building a version and warming it, off the path of requests.

use std::sync::Arc;
use std::time::Duration;

use mlp_core::{HostError, ModelError, Servable, VersionNumber, VersionSource, catch_panic};

use crate::bisect;
use crate::cache::PredictionCache;
use crate::cost::Cost;
use crate::gate::Gate;
use crate::ledger::Ledger;
use crate::options::ServeOptions;
use crate::queue::{Queue, Replica};
use crate::sync::{Condvar, Mutex};
use crate::threads::Threads;
use crate::version::Version;

/// Builds the replicas of a version and warms them, under no lock.
pub(crate) fn build<M: ?Sized + Servable>(
    ledger: Ledger,
    source: VersionSource<M>,
    replicas: usize,
    context: Context<M>,
) -> Result<Arc<Version<M>>, HostError> {
    let Context { options, warm_up, gate, threads, cache } = context;
    let version = ledger.version;
    let models = build_models(version, &source, replicas)?;
    let mut cost = Cost::default();
    let expected = warm(&models, &warm_up, &options, &ledger, &mut cost)
        .map_err(|source| HostError::WarmUp { version, source })?;
    let model = Arc::clone(&models[0]);
    let replicas = models.into_iter().enumerate();
    let mut replicas: Vec<_> =
        replicas.map(|(index, model)| Replica::new(index, model, Arc::default())).collect();
    // The first replica is taken first.
    replicas.reverse();
    let can_check = !warm_up.inputs().is_empty();
    // A caller that does not come back from the model could not be given up.
    let inline_below =
        if options.stuck_after.is_some() { Duration::ZERO } else { options.inline_below };
    Ok(Arc::new(Version {
        inline_seconds: inline_below.as_secs_f64(),
        ledger: Arc::new(ledger),
        model,
        cache,
        options,
        queue: Mutex::new(Queue::new(replicas, cost, can_check)),
        work: Condvar::new(),
        quiet: Condvar::new(),
        gate,
        source,
        warm_up,
        expected,
        threads,
    }))
}

/// What all versions of a server share, and the cache of this one.
pub(crate) struct Context<M: ?Sized + Servable> {
    pub(crate) options: ServeOptions,
    pub(crate) warm_up: WarmUp<M::Input>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) threads: Arc<Threads>,
    pub(crate) cache: Option<Box<dyn PredictionCache<M::Output>>>,
}

/// The inputs on which replicas are tried; none unless they can be shared by threads.
pub(crate) struct WarmUp<I>(Option<Arc<dyn AsRef<[I]> + Send + Sync>>);

impl<I> WarmUp<I> {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    pub(crate) fn new(inputs: Vec<I>) -> Self
    where
        I: Send + Sync + 'static,
    {
        Self(Some(Arc::new(inputs)))
    }

    pub(crate) fn inputs(&self) -> &[I] {
        self.0.as_ref().map_or(&[], |inputs| (**inputs).as_ref())
    }
}

impl<I> Clone for WarmUp<I> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

fn build_models<M: ?Sized + Servable>(
    version: VersionNumber,
    source: &VersionSource<M>,
    models: usize,
) -> Result<Vec<Arc<M>>, HostError> {
    let build = || source.build().map_err(|source| HostError::Build { version, source });
    (0..models).map(|_| build()).collect()
}

/// Builds more models for a version and warms them: they must answer as the first one did.
pub(crate) fn more<M: ?Sized + Servable>(
    version: &Version<M>,
    models: usize,
) -> Result<Vec<Arc<M>>, HostError> {
    let number = version.ledger.version;
    let models = build_models(number, &version.source, models)?;
    let (inputs, cap) = (version.warm_up.inputs(), version.options.max_batch_rows);
    for model in &models {
        let answers = answers(&**model, inputs, cap, |_, _| true);
        answers
            .and_then(|answers| compare(&**model, &version.expected, &answers))
            .map_err(|source| HostError::WarmUp { version: number, source })?;
    }
    Ok(models)
}

/// What a model answers to the warm-up inputs; `ran` hears of each batch before each call for it and after the last one, with its rows, and says
/// before the first one whether to go on.
pub(crate) fn answers<M: ?Sized + Servable>(
    model: &M,
    inputs: &[M::Input],
    cap: usize,
    mut ran: impl FnMut(usize, bool) -> bool,
) -> Result<Vec<M::Output>, ModelError> {
    let answers = catch_panic(|| {
        let (mut answers, mut out) = (Vec::with_capacity(inputs.len()), Vec::new());
        for batch in batches(model, inputs, cap) {
            let rows = batch.iter().map(|input| model.rows(input).max(1));
            let rows = rows.fold(0, usize::saturating_add);
            if !ran(rows, false) {
                return Err(ModelError::failed("the warm-up was broken off"));
            }
            bisect::run(model, batch, &mut out, &mut answers, || {
                ran(rows, false);
            });
            ran(rows, true);
        }
        answers.into_iter().collect()
    });
    answers?
}

/// Runs each model on the warm-up inputs, one after another: it must answer them all, and as the first one does. Their answers.
fn warm<M: ?Sized + Servable>(
    models: &[Arc<M>],
    warm_up: &WarmUp<M::Input>,
    options: &ServeOptions,
    ledger: &Ledger,
    cost: &mut Cost,
) -> Result<Vec<M::Output>, ModelError> {
    let mut expected = None;
    for model in models {
        let mut started = None;
        let cap = options.max_batch_rows;
        let answers = answers(&**model, warm_up.inputs(), cap, |rows, is_done| {
            let now = ledger.time.monotonic();
            let began = *started.get_or_insert(now);
            if is_done {
                started = None;
                cost.observe(rows, now.saturating_sub(began), options);
            }
            true
        })?;
        match &expected {
            None => expected = Some(answers),
            Some(expected) => compare(&**model, expected, &answers)?,
        }
    }
    Ok(expected.unwrap_or_default())
}

/// An error if a model answers the warm-up inputs otherwise than its sisters did.
pub(crate) fn compare<M: ?Sized + Servable>(
    model: &M,
    expected: &[M::Output],
    answers: &[M::Output],
) -> Result<(), ModelError> {
    let pairs = || expected.iter().zip(answers);
    match catch_panic(|| pairs().position(|(one, other)| differ(model, one, other)))? {
        None => Ok(()),
        Some(input) => Err(ModelError::failed(format!(
            "a replica answers warm-up input {input} otherwise than the first one did"
        ))),
    }
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
    let watched = version.staff().and_then(|()| {
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

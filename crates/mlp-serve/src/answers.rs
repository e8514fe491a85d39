//! Answers: made, remembered, repeated, forgotten.

use std::time::Duration;

use mlp_core::{ModelError, OutcomeStatus, Servable, catch_panic};

use crate::admission::{Admitted, Arrival};
use crate::cache::Remembered;
use crate::error::ServeError;
use crate::ledger::Call;
use crate::request::Answer;
use crate::version::Version;

impl<M: ?Sized + Servable> Version<M> {
    /// Forgets the remembered answer to an input, or all of them.
    pub(crate) fn forget(&self, input: Option<&M::Input>) {
        let Some(cache) = &self.cache else { return };
        let mut key = Vec::new();
        match input {
            None => cache.clear(),
            Some(input) => {
                if catch_panic(|| self.model.cache_key(input, &mut key)).unwrap_or(false) {
                    cache.remove(&key);
                }
            }
        }
    }

    #[inline]
    pub(crate) fn recall(&self, key: &[u8], now: Duration) -> Option<Remembered<M::Output>> {
        let cache = self.cache.as_ref()?;
        let remembered = catch_panic(|| cache.get(key)).ok().flatten()?;
        remembered.expires.is_none_or(|expires| now < expires).then_some(remembered)
    }

    /// Answers with what the model said to an identical input.
    #[inline]
    pub(crate) fn repeat(
        &self,
        call: &Call,
        input: &M::Input,
        output: M::Output,
        replica: usize,
        now: Duration,
    ) -> Answer<M::Output> {
        let latency = now.saturating_sub(call.entered);
        let answer = self.answer(call, output, replica, latency, Origin::Cache);
        let (role, model) = (call.route.role, &*self.model);
        self.ledger.record(call, role, model, input, &answer.output, answer.latency);
        self.ledger.report_cached(call, now);
        answer
    }

    pub(crate) fn repeat_and_mirror(
        &self,
        arrival: &mut Arrival<'_, M>,
        remembered: Remembered<M::Output>,
    ) -> Admitted<M::Output> {
        let call = arrival.call;
        let now = self.ledger.time.monotonic();
        if call.is_late(now) {
            self.ledger.report(call, OutcomeStatus::TimedOut, now);
            let error = ServeError::DeadlineExceeded { version: self.ledger.version };
            return arrival.exchange.fail(error);
        }
        let Remembered { output, replica, .. } = remembered;
        let answer = self.repeat(call, arrival.input(), output, replica, now);
        if !arrival.shadows.is_empty() {
            let primary = catch_panic(|| answer.output.clone()).ok();
            let (call, shadows) = (*arrival.call, std::mem::take(&mut arrival.shadows));
            self.mirror(call, arrival.take(), primary, shadows);
        }
        arrival.exchange.reply = Some(Ok(answer));
        Admitted::Settled
    }

    /// Keeps an answer. If that panics, the answer is not kept and all the same given.
    pub(crate) fn remember(
        &self,
        key: Option<Box<[u8]>>,
        result: &Result<M::Output, ModelError>,
        replica: usize,
        now: Duration,
    ) {
        let (Some(cache), Some(key), Ok(output)) = (&self.cache, key, result) else { return };
        self.ledger.listen(|| {
            let expires = self.options.cache_ttl.map(|ttl| now.saturating_add(ttl));
            let bytes =
                key.len() + self.model.output_bytes(output) + size_of::<Remembered<M::Output>>();
            cache.insert(key, Remembered { output: output.clone(), replica, expires, bytes });
        });
    }

    #[inline]
    pub(crate) fn answer(
        &self,
        call: &Call,
        output: M::Output,
        replica: usize,
        latency: Duration,
        origin: Origin,
    ) -> Answer<M::Output> {
        Answer {
            output,
            version: self.ledger.version,
            role: call.route.role,
            replica,
            cached: origin == Origin::Cache,
            id: call.id,
            latency,
        }
    }
}

/// A copy of a result; an output that panics when it is copied is a failure of the model.
pub(crate) fn copy<O: Clone>(result: &Result<O, ModelError>) -> Result<O, ModelError> {
    match result {
        Ok(output) => catch_panic(|| output.clone()).map_err(ModelError::from),
        Err(error) => Err(error.clone()),
    }
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Model,
    Cache,
}

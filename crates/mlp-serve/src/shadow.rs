//! Copies of requests, which shadows see after the caller has its answer.

use std::time::Duration;

use mlp_core::{ModelError, OutcomeStatus, Role, Servable, catch_panic};

use crate::ledger::{Call, count};
use crate::queue::{Job, Mirror, Shadows, Task};
use crate::version::Version;

impl<M: ?Sized + Servable> Version<M> {
    /// Hands an input that was answered to the shadows.
    pub(crate) fn mirror(
        &self,
        call: Call,
        input: M::Input,
        primary: Option<M::Output>,
        shadows: Shadows<M>,
    ) {
        let pass = self.gate.enter();
        pass_on(input, Box::new(Mirror { call, primary, shadows, pass }));
    }

    /// Takes a copy in, or gives it back.
    pub(crate) fn admit_mirror(
        &self,
        input: M::Input,
        rows: usize,
        mirror: Box<Mirror<M>>,
    ) -> Result<(), (M::Input, Box<Mirror<M>>)> {
        let entered = self.ledger.time.monotonic();
        let mut queue = self.queue.lock();
        let room = self.options.shadow_queue_rows.saturating_sub(queue.mirror_rows());
        if queue.is_closed || rows > room {
            count(&self.ledger.counters.mirrors_left_out);
            return Err((input, mirror));
        }
        queue.push_mirror(Job { input, rows, entered, task: Task::Mirror(mirror) });
        drop(queue);
        self.work.notify_one();
        Ok(())
    }

    /// Reports what this version, as a shadow, made of a copy.
    pub(crate) fn settle_mirror(
        &self,
        mirror: &Mirror<M>,
        input: &M::Input,
        result: &Result<M::Output, ModelError>,
        latency: Duration,
    ) {
        let (status, agreement) = match result {
            Err(_) => (OutcomeStatus::Failed, None),
            Ok(output) => {
                self.ledger.record(
                    &mirror.call,
                    Role::Shadow,
                    &*self.model,
                    input,
                    output,
                    latency,
                );
                let agreement = mirror.primary.as_ref().and_then(|primary| {
                    catch_panic(|| self.model.agreement(primary, output)).unwrap_or(None)
                });
                (OutcomeStatus::Answered, agreement)
            }
        };
        self.ledger.report_mirror(&mirror.call, status, latency, agreement);
    }
}

/// Gives each shadow a copy of its own, so that none waits for another; where inputs cannot be copied, the one goes from shadow to shadow.
pub(crate) fn pass_on<M: ?Sized + Servable>(mut input: M::Input, mut mirror: Box<Mirror<M>>) {
    while let Some(shadow) = mirror.shadows.pop() {
        let Ok(rows) = shadow.inspect(&input) else {
            let status = OutcomeStatus::Refused;
            shadow.ledger.report_mirror(&mirror.call, status, Duration::ZERO, None);
            continue;
        };
        let is_last = mirror.shadows.is_empty();
        let copy = || catch_panic(|| shadow.model.clone_input(&input)).ok().flatten();
        if let Some(copy) = if is_last { None } else { copy() } {
            let primary = catch_panic(|| mirror.primary.clone()).unwrap_or(None);
            let (shadows, pass) = (Vec::new(), mirror.pass.again());
            let own = Mirror { call: mirror.call, primary, shadows, pass };
            // One that it does not take is left out, and counted.
            drop(shadow.admit_mirror(copy, rows, Box::new(own)));
            continue;
        }
        match shadow.admit_mirror(input, rows, mirror) {
            Ok(()) => return,
            Err(returned) => (input, mirror) = returned,
        }
    }
}

//! The handle that applications hold.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mlp_core::{Host, HostError, Router, Servable, VersionNumber, VersionSource};

use crate::admission::{Admitted, Exchange, Place};
use crate::builder::ServerBuilder;
use crate::error::ServeError;
use crate::health::ServerHealth;
use crate::numbers::Numbers;
use crate::request::{Answer, Request};
use crate::shared::Shared;
use crate::ticket::Ticket;

/// Serves predictions from replicas of one or more versions of a model.
///
/// A handle: clones share the server. When the last one (and the last [`host`](Self::host)) is dropped, what was accepted is answered, for
/// at most the options' `drain_timeout`, and all threads are joined; if a thread of the server itself drops it, that is done elsewhere.
///
/// See the [crate page](crate) for an example.
pub struct Server<M: ?Sized + Servable + 'static> {
    pub(crate) shared: Arc<Shared<M>>,
}

impl<M: ?Sized + Servable + 'static> Server<M> {
    /// Serves one version, with default options.
    ///
    /// # Errors
    /// If the version cannot be built or fails its warm-up.
    pub fn fixed(version: VersionNumber, source: VersionSource<M>) -> Result<Self, ServeError> {
        Self::builder().fixed(version, source)
    }

    /// Lets a router choose the version of each request, with default options. Versions come by [`Host::prepare`].
    ///
    /// # Errors
    /// Never with default options; as [`ServerBuilder::routed`].
    pub fn routed(router: Arc<dyn Router>) -> Result<Self, ServeError> {
        Self::builder().routed(router)
    }

    /// Sets up a server with options, a clock, a log, warm-up inputs.
    #[must_use]
    pub fn builder() -> ServerBuilder<M> {
        ServerBuilder::new()
    }

    /// Answers one input; blocks until the answer is there.
    ///
    /// # Errors
    /// If the server drains, no version is loaded, the input is invalid, the queue is full, the deadline passes, or the model fails or panics.
    pub fn predict(&self, input: M::Input) -> Result<Answer<M::Output>, ServeError> {
        self.predict_for(&Request::new(), input)
    }

    /// Answers one input for a request that says who asks, by when, and how urgently.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn predict_for(
        &self,
        request: &Request<'_>,
        input: M::Input,
    ) -> Result<Answer<M::Output>, ServeError> {
        let (entry, mut exchange) = (self.shared.enter(request), Exchange::new(input));
        match self.shared.admit(request, &entry, Place::Caller, &mut exchange) {
            Ok(Admitted::Settled) => {}
            Ok(Admitted::Waiting(slot)) => return slot.wait(),
            Err(full) => drop(full.refuse(&mut exchange)),
        }
        exchange.into_reply()
    }

    /// Answers many inputs, each as a request of its own; one result an input, in order. When there is no room for the next one, it waits for
    /// the oldest of its own, so that it is refused only for what others have filled.
    pub fn predict_batch(
        &self,
        inputs: impl IntoIterator<Item = M::Input>,
    ) -> Vec<Result<Answer<M::Output>, ServeError>> {
        self.predict_batch_for(&Request::new(), inputs)
    }

    /// As [`predict_batch`](Self::predict_batch), for requests that say who asks, by when, and how urgently. The time that each has begins when it is
    /// handed in.
    pub fn predict_batch_for(
        &self,
        request: &Request<'_>,
        inputs: impl IntoIterator<Item = M::Input>,
    ) -> Vec<Result<Answer<M::Output>, ServeError>> {
        let (mut replies, mut tickets) = (Vec::new(), VecDeque::new());
        for input in inputs {
            let (entry, mut exchange) = (self.shared.enter(request), Exchange::new(input));
            let admitted = loop {
                match self.shared.admit(request, &entry, Place::Replica, &mut exchange) {
                    Ok(admitted) => break admitted,
                    Err(full) => match tickets.pop_front().map(Ticket::wait) {
                        None => break full.refuse(&mut exchange),
                        Some(reply) => replies.push(reply),
                    },
                }
            };
            tickets.push_back(Ticket::new(entry.id, admitted, exchange));
        }
        replies.extend(tickets.into_iter().map(Ticket::wait));
        replies
    }

    /// Hands one input in and returns at once; the ticket is waited for, polled or awaited. Errors come through the ticket.
    pub fn submit(&self, input: M::Input) -> Ticket<M::Output> {
        self.submit_for(&Request::new(), input)
    }

    /// Hands one input in for a request that says who asks, by when, and how urgently.
    pub fn submit_for(&self, request: &Request<'_>, input: M::Input) -> Ticket<M::Output> {
        let (entry, mut exchange) = (self.shared.enter(request), Exchange::new(input));
        let admitted = self.shared.admit(request, &entry, Place::Replica, &mut exchange);
        let admitted = admitted.unwrap_or_else(|full| full.refuse(&mut exchange));
        Ticket::new(entry.id, admitted, exchange)
    }

    /// Replaces the version of a server without a router: the new one is built and warmed beside the old one, takes over between two
    /// requests, and the old one answers what it has accepted. If the new one fails to load, the old one serves on. A roll-out that is
    /// under way ends: the version that is swapped in takes over from both.
    ///
    /// # Errors
    /// If the version is already there, cannot be built, or fails its warm-up; if the server has a router, which names versions itself.
    pub fn swap(&self, version: VersionNumber, source: VersionSource<M>) -> Result<(), ServeError> {
        self.shared.swap(version, source)
    }

    /// Replaces the version as [`swap`](Self::swap) does, but replica by replica: the new version begins with one, and each time it gets another one
    /// and its share of the requests grows, the old version loses one. So there is at most one replica more than usual, and no
    /// moment at which all of them are cold. After each step it rests for `pause`; if the new version is not well then, the old one takes over
    /// again and the new one is retired. Blocks until all is done. It follows [`scale_to`](Self::scale_to) while it goes on.
    ///
    /// ```
    /// # use mlp_core::{ModelError, Servable, VersionNumber, VersionSource};
    /// # use std::{sync::Arc, time::Duration};
    /// # #[derive(Debug)] struct Add(i64);
    /// # impl Servable for Add {
    /// #     type Input = i64;
    /// #     type Output = i64;
    /// #     fn run(&self, batch: &[i64], out: &mut Vec<i64>) -> Result<(), ModelError> { out.extend(batch.iter().map(|x| x + self.0)); Ok(()) }
    /// # }
    /// let server = mlp_serve::Server::fixed(VersionNumber(1), VersionSource::shared(Arc::new(Add(1))))?;
    /// server.roll(VersionNumber(2), VersionSource::shared(Arc::new(Add(2))), Duration::from_millis(5))?;
    /// assert_eq!(server.predict(40)?.output, 42);
    /// # Ok::<(), mlp_serve::ServeError>(())
    /// ```
    ///
    /// # Errors
    /// As [`swap`](Self::swap); if the new version does not stay well; if the server drains or another version is swapped in meanwhile; if another
    /// roll-out is under way. If the old version cannot be given back the replicas it had lost, that error, since that version serves.
    pub fn roll(
        &self,
        version: VersionNumber,
        source: VersionSource<M>,
        pause: Duration,
    ) -> Result<(), ServeError> {
        self.shared.roll(version, source, pause)
    }

    /// Sets how many replicas each version has, while it serves. New ones are built and warmed one after another, and must answer the warm-up as
    /// those do that are there; those that go finish their batch first.
    ///
    /// # Errors
    /// If the number is out of range, or a replica cannot be built or fails its warm-up.
    pub fn scale_to(&self, replicas: usize) -> Result<(), ServeError> {
        self.shared.scale_to(replicas)
    }

    /// Forgets what the versions remember of this input. An answer that is being computed is remembered afterwards all the same.
    pub fn forget(&self, input: &M::Input) {
        self.shared.forget(Some(input));
    }

    /// Forgets all remembered answers.
    pub fn forget_all(&self) {
        self.shared.forget(None);
    }

    /// The server as a host of versions, for a deployment to steer. It lives as long as any handle, so a deployment may hold it weakly.
    #[must_use]
    pub fn host(&self) -> Arc<dyn Host<M>> {
        Arc::clone(&self.shared) as Arc<dyn Host<M>>
    }

    /// How the server and its versions are.
    #[must_use]
    pub fn health(&self) -> ServerHealth {
        self.shared.server_health()
    }

    /// What the versions have done so far, and how fast.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        self.shared.numbers()
    }

    /// Waits until the shadows have seen all copies handed to them so far, at most for a while.
    pub fn settle_shadows(&self, timeout: Duration) -> Settled {
        self.shared.settle_shadows(timeout)
    }

    /// Takes no new requests, and waits until those accepted are answered. What still waits for a replica after `timeout` gets
    /// [`ServeError::Draining`]. Draining again waits again. Called by a thread that serves (by a router, a log, a model), which would wait
    /// for itself, it returns at once, and what is left is waited for elsewhere.
    pub fn drain(&self, timeout: Duration) -> Drained {
        self.shared.drain(timeout)
    }
}

/// Whether the shadows have seen their copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Settled {
    /// How many copies are still on their way.
    pub left: usize,
}

/// What draining came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// How many accepted requests were not answered in time: refused if they waited, left to their replica if they ran.
    pub unanswered: usize,
}

impl<M: ?Sized + Servable + 'static> Host<M> for Server<M> {
    fn prepare(&self, version: VersionNumber, source: VersionSource<M>) -> Result<(), HostError> {
        self.shared.prepare(version, source)
    }

    fn health(&self, version: VersionNumber) -> mlp_core::Health {
        Host::health(&*self.shared, version)
    }

    fn retire(&self, version: VersionNumber) {
        self.shared.retire(version);
    }
}

impl<M: ?Sized + Servable + 'static> Clone for Server<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M: ?Sized + Servable + 'static> fmt::Debug for Server<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.shared).finish()
    }
}

//! A request that was handed in, and whose answer is fetched later.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mlp_core::{PredictionId, Servable};

use crate::admission::{Admitted, Exchange};
use crate::balance::UnderWay;
use crate::error::ServeError;
use crate::slot::{Reply, Slot};

/// Stands for an answer that is being computed.
///
/// It can be waited for ([`wait`](Self::wait)), looked at ([`try_wait`](Self::try_wait)), or awaited: it is a `Future` that needs no
/// runtime of its own. Dropping it cancels the request, which then never reaches the model unless it already has.
///
/// A deadline is kept to the moment: whoever waits or awaits is woken then, by a thread that the server starts for this when a ticket with a deadline is
/// first awaited. It gives its answer once: whoever polls it or waits for it again after that meets a panic, as with most futures.
#[must_use = "dropping a ticket cancels its request"]
pub struct Ticket<O> {
    inner: Inner<O>,
    /// Whether it is woken at its deadline.
    is_timed: bool,
    /// Counts as a request of a server behind a balancer until the answer was given.
    under_way: Option<UnderWay>,
}

enum Inner<O> {
    Settled(PredictionId, Option<Box<Reply<O>>>),
    Waiting(Arc<Slot<O>>),
}

impl<O> Ticket<O> {
    pub(crate) fn new<M>(id: PredictionId, admitted: Admitted<O>, exchange: Exchange<M>) -> Self
    where
        M: ?Sized + Servable<Output = O>,
    {
        Self::from(match admitted {
            Admitted::Settled => Inner::Settled(id, Some(Box::new(exchange.into_reply()))),
            Admitted::Waiting(slot) => Inner::Waiting(slot),
        })
    }

    fn from(inner: Inner<O>) -> Self {
        Self { inner, is_timed: false, under_way: None }
    }

    /// A request that came to nothing before it reached a server.
    pub(crate) fn failed(error: ServeError) -> Self {
        Self::from(Inner::Settled(PredictionId::generate(), Some(Box::new(Err(error)))))
    }

    pub(crate) fn with_under_way(mut self, under_way: UnderWay) -> Self {
        self.under_way = Some(under_way);
        self
    }

    /// The identity that the answer will carry.
    #[must_use]
    pub fn id(&self) -> PredictionId {
        match &self.inner {
            Inner::Settled(id, _) => *id,
            Inner::Waiting(slot) => slot.call.id,
        }
    }

    /// Blocks until the answer is there, or the deadline has passed.
    ///
    /// # Errors
    /// As [`Server::predict`](crate::Server::predict).
    ///
    /// # Panics
    /// If the ticket has given its answer when it was polled as a future.
    pub fn wait(mut self) -> Reply<O> {
        match &mut self.inner {
            Inner::Settled(_, reply) => take(reply),
            Inner::Waiting(slot) => slot.wait(),
        }
    }

    /// The answer if it is there, otherwise the ticket again.
    ///
    /// # Errors
    /// The ticket, if there is no answer yet.
    ///
    /// # Panics
    /// If the ticket has given its answer when it was polled as a future.
    pub fn try_wait(mut self) -> Result<Reply<O>, Self> {
        match &mut self.inner {
            Inner::Settled(_, reply) => Ok(take(reply)),
            Inner::Waiting(slot) => match slot.poll(None) {
                Poll::Ready(reply) => Ok(reply),
                Poll::Pending => Err(self),
            },
        }
    }
}

fn take<O>(reply: &mut Option<Box<Reply<O>>>) -> Reply<O> {
    *reply.take().expect("a ticket gives its answer once")
}

impl<O: Send + 'static> Future for Ticket<O> {
    type Output = Reply<O>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reply<O>> {
        let this = &mut *self;
        let reply = match &mut this.inner {
            Inner::Settled(_, reply) => Poll::Ready(take(reply)),
            Inner::Waiting(slot) => slot.poll(Some(context.waker())),
        };
        if let Inner::Waiting(slot) = &this.inner {
            if reply.is_ready() {
                this.inner = Inner::Settled(slot.call.id, None);
            } else if !std::mem::replace(&mut this.is_timed, true) {
                slot.remind();
            }
        }
        if reply.is_ready() {
            this.under_way = None;
        }
        reply
    }
}

impl<O> Drop for Ticket<O> {
    fn drop(&mut self) {
        if let Inner::Waiting(slot) = &self.inner {
            slot.cancel();
        }
    }
}

impl<O> fmt::Debug for Ticket<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.id()).finish()
    }
}

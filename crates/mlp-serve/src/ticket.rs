//! A request that was handed in, and whose answer is fetched later.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mlp_core::{PredictionId, Servable};

use crate::admission::{Admitted, Exchange};
use crate::slot::{Reply, Slot};

/// Stands for an answer that is being computed.
///
/// It can be waited for ([`wait`](Self::wait)), looked at ([`try_wait`](Self::try_wait)), or awaited: it is a `Future` that needs no
/// runtime of its own. Dropping it cancels the request, which then never reaches the model unless it already has.
///
/// A deadline is kept to the moment by `wait`; a ticket that is awaited hears of its missed deadline when it is polled, or when a replica
/// comes to it in the queue. It gives its answer once: whoever polls it or waits for it again after that meets a panic, as with most futures.
#[must_use = "dropping a ticket cancels its request"]
pub struct Ticket<O>(Inner<O>);

enum Inner<O> {
    Settled(PredictionId, Option<Box<Reply<O>>>),
    Waiting(Arc<Slot<O>>),
}

impl<O> Ticket<O> {
    pub(crate) fn new<M>(id: PredictionId, admitted: Admitted<O>, exchange: Exchange<M>) -> Self
    where
        M: ?Sized + Servable<Output = O>,
    {
        Self(match admitted {
            Admitted::Settled => Inner::Settled(id, Some(Box::new(exchange.into_reply()))),
            Admitted::Waiting(slot) => Inner::Waiting(slot),
        })
    }

    /// The identity that the answer will carry.
    #[must_use]
    pub fn id(&self) -> PredictionId {
        match &self.0 {
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
        match &mut self.0 {
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
        match &mut self.0 {
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

impl<O> Future for Ticket<O> {
    type Output = Reply<O>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reply<O>> {
        match &mut self.0 {
            Inner::Settled(_, reply) => Poll::Ready(take(reply)),
            Inner::Waiting(slot) => {
                let id = slot.call.id;
                let reply = slot.poll(Some(context.waker()));
                if reply.is_ready() {
                    self.0 = Inner::Settled(id, None);
                }
                reply
            }
        }
    }
}

impl<O> Drop for Ticket<O> {
    fn drop(&mut self) {
        if let Inner::Waiting(slot) = &self.0 {
            slot.cancel();
        }
    }
}

impl<O> fmt::Debug for Ticket<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.id()).finish()
    }
}

//! Several servers with queues of their own, and who of them is asked next.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mlp_core::Servable;

use crate::error::ServeError;
use crate::request::{Answer, Request};
use crate::server::Server;

/// Chooses which of several servers is asked next.
///
/// # Contract
///
/// [`pick`](Self::pick) is called on the path of every request: it takes no lock that a slow caller can hold.
pub trait Balancer: Debug + Send + Sync {
    /// The position of the server to ask, given how many requests are under way at each of them. There is at least one.
    fn pick(&self, under_way: &[AtomicUsize]) -> usize;
}

/// One server after the other.
#[derive(Debug, Default)]
pub struct RoundRobin(AtomicUsize);

impl Balancer for RoundRobin {
    fn pick(&self, under_way: &[AtomicUsize]) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed) % under_way.len()
    }
}

/// The server with the fewest requests under way, the first of equal ones.
#[derive(Debug, Default)]
pub struct LeastOutstanding;

impl Balancer for LeastOutstanding {
    fn pick(&self, under_way: &[AtomicUsize]) -> usize {
        let load = |&index: &usize| under_way[index].load(Ordering::Relaxed);
        (0..under_way.len()).min_by_key(load).unwrap_or(0)
    }
}

/// Several servers of the same versions, each with its own queue, behind one balancer.
///
/// Replicas of one [`Server`] need no balancer: they pull from one queue, so that none idles while work waits. This is for servers that cannot
/// share a queue, such as one for each memory node of a machine. A request stays with the server it was given to.
///
/// ```
/// use mlp_core::{ModelError, Servable, VersionNumber, VersionSource};
/// use mlp_serve::{Balanced, RoundRobin, Server};
/// use std::sync::Arc;
///
/// #[derive(Debug)]
/// struct Double;
///
/// impl Servable for Double {
///     type Input = u32;
///     type Output = u32;
///     fn run(&self, batch: &[u32], out: &mut Vec<u32>) -> Result<(), ModelError> {
///         out.extend(batch.iter().map(|number| number * 2));
///         Ok(())
///     }
/// }
///
/// let server = || Server::fixed(VersionNumber(1), VersionSource::shared(Arc::new(Double)));
/// let servers = Balanced::new([server()?, server()?], RoundRobin::default())?;
/// assert_eq!(servers.predict(21)?.output, 42);
/// # Ok::<(), mlp_serve::ServeError>(())
/// ```
#[derive(Debug)]
pub struct Balanced<M: ?Sized + Servable> {
    servers: Vec<Server<M>>,
    under_way: Vec<AtomicUsize>,
    balancer: Arc<dyn Balancer>,
}

impl<M: ?Sized + Servable + 'static> Balanced<M> {
    /// Puts some servers behind a balancer.
    ///
    /// # Errors
    /// If there is no server.
    pub fn new(
        servers: impl IntoIterator<Item = Server<M>>,
        balancer: impl Balancer + 'static,
    ) -> Result<Self, ServeError> {
        let servers: Vec<Server<M>> = servers.into_iter().collect();
        if servers.is_empty() {
            return Err(ServeError::InvalidOption {
                option: "servers",
                given: "0".to_owned(),
                allowed: "at least 1",
            });
        }
        let under_way = servers.iter().map(|_| AtomicUsize::new(0)).collect();
        Ok(Self { servers, under_way, balancer: Arc::new(balancer) })
    }

    /// Asks the server that the balancer picks, and waits for its answer.
    ///
    /// # Errors
    /// As [`Server::predict`].
    pub fn predict(&self, input: M::Input) -> Result<Answer<M::Output>, ServeError> {
        self.predict_for(&Request::new(), input)
    }

    /// As [`predict`](Self::predict), for a request of which more is known.
    ///
    /// # Errors
    /// As [`Server::predict_for`].
    pub fn predict_for(
        &self,
        request: &Request<'_>,
        input: M::Input,
    ) -> Result<Answer<M::Output>, ServeError> {
        // A balancer of somebody else's may pick beyond the end.
        let index = self.balancer.pick(&self.under_way) % self.servers.len();
        let _under_way = UnderWay::begin(&self.under_way[index]);
        self.servers[index].predict_for(request, input)
    }

    /// The servers, in the order in which they were given.
    #[must_use]
    pub fn servers(&self) -> &[Server<M>] {
        &self.servers
    }

    /// How many requests are under way at each server.
    #[must_use]
    pub fn under_way(&self) -> Vec<usize> {
        self.under_way.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

/// Counts a request for as long as it lives, also if the server panics.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::{ModelError, VersionNumber, VersionSource};
    use std::sync::Barrier;

    /// Answers with its own number; waits for the barrier if it is asked to.
    #[derive(Debug)]
    struct Numbered(usize, Arc<Barrier>);

    impl Servable for Numbered {
        type Input = bool;
        type Output = usize;

        fn run(&self, batch: &[bool], out: &mut Vec<usize>) -> Result<(), ModelError> {
            if batch.contains(&true) {
                self.1.wait();
                self.1.wait();
            }
            out.extend(batch.iter().map(|_| self.0));
            Ok(())
        }
    }

    fn servers(barrier: &Arc<Barrier>) -> Vec<Server<Numbered>> {
        let server = |number| {
            let model = Arc::new(Numbered(number, Arc::clone(barrier)));
            Server::fixed(VersionNumber(1), VersionSource::shared(model)).unwrap()
        };
        (0..3).map(server).collect()
    }

    #[test]
    fn round_robin_asks_one_server_after_the_other() {
        let balanced =
            Balanced::new(servers(&Arc::new(Barrier::new(2))), RoundRobin::default()).unwrap();
        let asked: Vec<usize> = (0..6).map(|_| balanced.predict(false).unwrap().output).collect();
        assert_eq!(asked, [0, 1, 2, 0, 1, 2]);
        assert_eq!(balanced.under_way(), [0, 0, 0]);
    }

    #[test]
    fn least_outstanding_leaves_a_busy_server_alone() {
        let barrier = Arc::new(Barrier::new(2));
        let balanced = Balanced::new(servers(&barrier), LeastOutstanding).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(balanced.predict(true).unwrap().output, 0));
            barrier.wait();
            assert_eq!(balanced.under_way(), [1, 0, 0]);
            assert!((0..4).all(|_| balanced.predict(false).unwrap().output == 1));
            barrier.wait();
        });
        assert_eq!(balanced.predict(false).unwrap().output, 0, "it is free again");
    }

    #[test]
    fn no_server_is_an_error_and_a_pick_beyond_the_end_is_none() {
        #[derive(Debug)]
        struct Beyond;
        impl Balancer for Beyond {
            fn pick(&self, _: &[AtomicUsize]) -> usize {
                7
            }
        }
        assert!(Balanced::<Numbered>::new([], RoundRobin::default()).is_err());
        let balanced = Balanced::new(servers(&Arc::new(Barrier::new(2))), Beyond).unwrap();
        assert_eq!(balanced.predict(false).unwrap().output, 1);
    }
}

//! Several servers with queues of their own, and who of them is asked next.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mlp_core::{Servable, catch_panic};

use crate::error::ServeError;
use crate::request::{Answer, Request};
use crate::server::Server;
use crate::ticket::Ticket;

/// Chooses which of several servers is asked next.
///
/// # Contract
///
/// [`pick`](Self::pick) is called on the path of every request: it takes no lock that a slow caller can hold.
pub trait Balancer: Debug + Send + Sync {
    /// The position of the server to ask, given how many requests are under way at each of them and who asks, if that is known. There is at
    /// least one.
    fn pick(&self, under_way: &[AtomicUsize], unit: Option<&str>) -> usize;
}

fn load(under_way: &[AtomicUsize], index: usize) -> usize {
    under_way[index].load(Ordering::Relaxed)
}

/// A number whose bits all depend on all bits of another (the finaliser of MurmurHash3).
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    value = (value ^ (value >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

/// One server after the other.
#[derive(Debug, Default)]
pub struct RoundRobin(AtomicUsize);

impl Balancer for RoundRobin {
    fn pick(&self, under_way: &[AtomicUsize], _: Option<&str>) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed) % under_way.len()
    }
}

/// The server with the fewest requests under way, the first of equal ones.
#[derive(Debug, Default)]
pub struct LeastOutstanding;

impl Balancer for LeastOutstanding {
    fn pick(&self, under_way: &[AtomicUsize], _: Option<&str>) -> usize {
        (0..under_way.len()).min_by_key(|&index| load(under_way, index)).unwrap_or(0)
    }
}

/// Of two servers drawn at random the one with fewer requests under way (Mitzenmacher 2001): nearly as even as asking all, at the cost of two.
#[derive(Debug, Default)]
pub struct PowerOfTwoChoices(AtomicUsize);

impl Balancer for PowerOfTwoChoices {
    fn pick(&self, under_way: &[AtomicUsize], _: Option<&str>) -> usize {
        let draw = mix(self.0.fetch_add(1, Ordering::Relaxed) as u64);
        let n = under_way.len();
        let one = draw as usize % n;
        // Another one, if there is another.
        let other = (one + 1 + (draw >> 32) as usize % n.max(2).saturating_sub(1)) % n;
        if load(under_way, other) < load(under_way, one) { other } else { one }
    }
}

/// The server that a unit belongs to, as long as that is not much busier than the others: whoever asks again finds what is remembered of
/// them.
///
/// Each unit ranks all servers by a hash of both (rendezvous hashing, Thaler and Ravishankar 1998), so one more server takes 1/n of the units
/// from the others and moves nobody else. A server with more than `bound` times the mean load passes its units on to the next in their rank
/// (bounded loads, Mirrokni, Thorup and Zadimoghaddam 2018). Requests without a unit go to the server with the fewest under way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConsistentHashing {
    bound: f64,
}

impl Default for ConsistentHashing {
    /// A bound of 1.25 times the mean.
    fn default() -> Self {
        Self { bound: 1.25 }
    }
}

impl ConsistentHashing {
    /// Sets how many times the mean load a server may have, above 1.
    ///
    /// # Errors
    /// If it is not finite and above 1.
    pub fn with_bound(bound: f64) -> Result<Self, ServeError> {
        if bound > 1.0 && bound.is_finite() {
            return Ok(Self { bound });
        }
        Err(ServeError::InvalidOption {
            option: "bound",
            given: bound.to_string(),
            allowed: "finite and above 1",
        })
    }
}

impl Balancer for ConsistentHashing {
    fn pick(&self, under_way: &[AtomicUsize], unit: Option<&str>) -> usize {
        let Some(unit) = unit else { return LeastOutstanding.pick(under_way, None) };
        let of_unit = unit.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let n = under_way.len();
        let total: usize = (0..n).map(|index| load(under_way, index)).sum();
        // Counting the request itself, so that an idle set takes everybody where they belong.
        let most = (self.bound * (total + 1) as f64 / n as f64).ceil() as usize;
        let rank = |&index: &usize| mix(of_unit ^ mix(index as u64 + 1));
        let has_room = |&index: &usize| load(under_way, index) < most;
        (0..n).filter(has_room).max_by_key(rank).unwrap_or(0)
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
pub struct Balanced<M: ?Sized + Servable + 'static> {
    servers: Vec<Server<M>>,
    under_way: Arc<[AtomicUsize]>,
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
    /// As [`Server::predict`], and if the balancer panics.
    pub fn predict(&self, input: M::Input) -> Result<Answer<M::Output>, ServeError> {
        self.predict_for(&Request::new(), input)
    }

    /// As [`predict`](Self::predict), for a request of which more is known.
    ///
    /// # Errors
    /// As [`Server::predict_for`], and if the balancer panics.
    pub fn predict_for(
        &self,
        request: &Request<'_>,
        input: M::Input,
    ) -> Result<Answer<M::Output>, ServeError> {
        let (server, _under_way) = self.pick(request)?;
        server.predict_for(request, input)
    }

    /// Hands one input to the server that the balancer picks and returns at once, as [`Server::submit`]. The request counts as under way there until the
    /// ticket has given its answer or is dropped.
    pub fn submit(&self, input: M::Input) -> Ticket<M::Output> {
        self.submit_for(&Request::new(), input)
    }

    /// As [`submit`](Self::submit), for a request of which more is known.
    pub fn submit_for(&self, request: &Request<'_>, input: M::Input) -> Ticket<M::Output> {
        match self.pick(request) {
            Ok((server, under_way)) => server.submit_for(request, input).with_under_way(under_way),
            Err(error) => Ticket::failed(error),
        }
    }

    fn pick(&self, request: &Request<'_>) -> Result<(&Server<M>, UnderWay), ServeError> {
        let picked = catch_panic(|| self.balancer.pick(&self.under_way, request.unit));
        let picked = picked.map_err(|it| ServeError::BalancerPanicked { message: it.message })?;
        // A balancer of somebody else's may pick beyond the end.
        let index = picked % self.servers.len();
        Ok((&self.servers[index], UnderWay::begin(&self.under_way, index)))
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
pub(crate) struct UnderWay(Arc<[AtomicUsize]>, usize);

impl UnderWay {
    fn begin(counts: &Arc<[AtomicUsize]>, index: usize) -> Self {
        counts[index].fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counts), index)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0[self.1].fetch_sub(1, Ordering::Relaxed);
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

    fn loads(loads: &[usize]) -> Vec<AtomicUsize> {
        loads.iter().map(|load| AtomicUsize::new(*load)).collect()
    }

    #[test]
    fn of_two_choices_the_less_busy_is_taken_and_all_are_drawn() {
        let balancer = PowerOfTwoChoices::default();
        let busy = loads(&[9, 0, 9, 9]);
        let picks: Vec<usize> = (0..4_000).map(|_| balancer.pick(&busy, None)).collect();
        let idle = picks.iter().filter(|pick| **pick == 1).count();
        // It is one of the two in half of the draws.
        assert!((1_850..2_150).contains(&idle), "{idle} of 4,000");
        assert!((0..4).all(|server| picks.contains(&server)));
        assert_eq!(balancer.pick(&loads(&[3]), None), 0);
        let two = loads(&[1, 0]);
        assert!((0..100).all(|_| balancer.pick(&two, None) == 1));
    }

    #[test]
    fn a_unit_keeps_its_server_and_one_more_server_moves_only_its_own_share() {
        let balancer = ConsistentHashing::default();
        let of = |n: usize| -> Vec<usize> {
            let idle = loads(&vec![0; n]);
            (0..10_000).map(|unit| balancer.pick(&idle, Some(&format!("user-{unit}")))).collect()
        };
        let (four, five) = (of(4), of(5));
        assert_eq!(four, of(4));
        for server in 0..4 {
            let share = four.iter().filter(|pick| **pick == server).count();
            assert!((2_350..2_650).contains(&share), "{share} of 10,000");
        }
        let moved: Vec<_> = four.iter().zip(&five).filter(|(one, other)| one != other).collect();
        assert!(moved.iter().all(|(_, other)| **other == 4), "somebody moved between the others");
        assert!((1_850..2_150).contains(&moved.len()), "{} moved", moved.len());
    }

    #[test]
    fn a_server_over_its_bound_passes_its_units_on() {
        let balancer = ConsistentHashing::with_bound(1.5).unwrap();
        let home = balancer.pick(&loads(&[0; 3]), Some("alice"));
        let mut busy = [2; 3];
        busy[home] = 4; // the mean of 9 is 3, the bound ceil(1.5 × 9 / 3) = 5
        assert_eq!(balancer.pick(&loads(&busy), Some("alice")), home);
        busy[home] = 7;
        assert_ne!(balancer.pick(&loads(&busy), Some("alice")), home);
        assert!(ConsistentHashing::with_bound(1.0).is_err());
        assert_eq!(balancer.pick(&loads(&[3, 1, 2]), None), 1);
    }

    #[test]
    fn a_ticket_is_under_way_until_it_has_given_its_answer_or_is_dropped() {
        let barrier = Arc::new(Barrier::new(2));
        let balanced = Balanced::new(servers(&barrier), LeastOutstanding).unwrap();
        let held = balanced.submit(true);
        barrier.wait();
        let (second, third) = (balanced.submit(false), balanced.submit_for(&Request::new(), false));
        assert_eq!(balanced.under_way(), [1, 1, 1]);
        drop(third);
        assert_eq!(second.wait().unwrap().output, 1);
        assert_eq!(balanced.under_way(), [1, 0, 0]);
        barrier.wait();
        assert_eq!(held.wait().unwrap().output, 0);
        assert_eq!(balanced.under_way(), [0, 0, 0]);
    }

    #[test]
    fn a_balancer_that_panics_is_an_error_of_that_request() {
        #[derive(Debug)]
        struct Falls;
        impl Balancer for Falls {
            fn pick(&self, _: &[AtomicUsize], unit: Option<&str>) -> usize {
                unit.map_or(0, |unit| panic!("{unit} is nobody"))
            }
        }
        let balanced = Balanced::new(servers(&Arc::new(Barrier::new(2))), Falls).unwrap();
        let request = Request::new().with_unit("Nemo");
        for reply in
            [balanced.predict_for(&request, false), balanced.submit_for(&request, false).wait()]
        {
            assert_eq!(reply.unwrap_err().to_string(), "the balancer panicked: Nemo is nobody");
        }
        assert!(balanced.predict(false).is_ok());
        assert_eq!(balanced.under_way(), [0, 0, 0]);
    }

    #[test]
    fn no_server_is_an_error_and_a_pick_beyond_the_end_is_none() {
        #[derive(Debug)]
        struct Beyond;
        impl Balancer for Beyond {
            fn pick(&self, _: &[AtomicUsize], _: Option<&str>) -> usize {
                7
            }
        }
        assert!(Balanced::<Numbered>::new([], RoundRobin::default()).is_err());
        let balanced = Balanced::new(servers(&Arc::new(Barrier::new(2))), Beyond).unwrap();
        assert_eq!(balanced.predict(false).unwrap().output, 1);
    }
}

//! The threads that grow a tree together: each has a share of the features, and all do the same steps.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};

use super::cut::Criteria;
use super::share::{Cuts, Order, Share};
use crate::tree::bins::Table;

/// Rows times features below which another thread costs more than it does.
const WORTH_A_THREAD: usize = 200_000;

pub(super) struct Crew<'scope, 'a> {
    /// The share of the calling thread, with the first features.
    pub(super) own: Share<'a>,
    /// In the order of their features.
    others: Vec<Helper<'scope>>,
}

struct Helper<'scope> {
    orders: Sender<Order>,
    cuts: Receiver<Cuts>,
    thread: ScopedJoinHandle<'scope, ()>,
}

impl<'scope, 'a: 'scope> Crew<'scope, 'a> {
    pub(super) fn new<'env>(
        scope: &'scope Scope<'scope, 'env>,
        table: &'a Table<u8>,
        criteria: Criteria<'a>,
    ) -> Self {
        let n_features = table.n_features();
        let is_small = table.n_rows * n_features < WORTH_A_THREAD;
        let threads = if is_small { 1 } else { criteria.rules.threads };
        let size = n_features.div_ceil(threads);
        let others = (size..n_features).step_by(size).map(|first| {
            let own = first..(first + size).min(n_features);
            Helper::new(scope, table, criteria, own)
        });
        // The others prepare their shares while this thread prepares its own.
        let others = others.collect();
        Self { own: Share::new(table, criteria, 0..size), others }
    }

    /// Lets all do a step; of equally good cuts the one of the first feature is taken, as one thread would.
    pub(super) fn carry_out(&mut self, order: Order) -> Cuts {
        for helper in &self.others {
            // Whoever left has panicked, which comes out below.
            let _ = helper.orders.send(order.clone());
        }
        let mut best = self.own.carry_out(&order);
        drop(order);
        for place in 0..self.others.len() {
            let Ok(cuts) = self.others[place].cuts.recv() else { self.fail(place) };
            for (best, cut) in best.iter_mut().zip(cuts) {
                if cut.is_some_and(|cut| best.is_none_or(|best| cut.gain > best.gain)) {
                    *best = cut;
                }
            }
        }
        best
    }

    /// Goes on with the panic of a helper.
    fn fail(&mut self, place: usize) -> ! {
        match self.others.swap_remove(place).thread.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => unreachable!("a helper works until it is let go"),
        }
    }
}

impl<'scope> Helper<'scope> {
    fn new<'env, 'a: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        table: &'a Table<u8>,
        criteria: Criteria<'a>,
        own: std::ops::Range<usize>,
    ) -> Self {
        let (orders, incoming) = channel::<Order>();
        let (outgoing, cuts) = channel();
        let thread = scope.spawn(move || {
            let mut share = Share::new(table, criteria, own);
            while let Ok(order) = incoming.recv() {
                let cuts = share.carry_out(&order);
                // Before the answer: then the caller has what the order lent to itself again.
                drop(order);
                if outgoing.send(cuts).is_err() {
                    break;
                }
            }
        });
        Self { orders, cuts, thread }
    }
}

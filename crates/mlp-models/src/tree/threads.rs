//! The same work on several threads.

use std::ops::Range;

/// Shares the numbers below `n` out among as many threads, the calling one among them, and gives what came of each part, in order.
pub(super) fn in_parts<T: Send>(
    n: usize,
    threads: usize,
    work: impl Fn(Range<usize>) -> T + Sync,
) -> Vec<T> {
    let size = n.div_ceil(threads.max(1)).max(1);
    let work = &work;
    std::thread::scope(|scope| {
        let others: Vec<_> = (size..n)
            .step_by(size)
            .map(|first| scope.spawn(move || work(first..(first + size).min(n))))
            .collect();
        let mut results = vec![work(0..size.min(n))];
        results.extend(others.into_iter().map(|other| match other.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }));
        results
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread::current;

    #[test]
    fn every_number_is_in_one_part_and_parts_come_in_order() {
        for n in [1, 2, 7, 100] {
            for threads in [0, 1, 2, 3, 8, 200] {
                let parts = in_parts(n, threads, |part| part);
                assert!(parts.len() <= threads.max(1) && parts.iter().all(|part| !part.is_empty()));
                assert!(parts.into_iter().flatten().eq(0..n), "{n} on {threads} threads");
            }
        }
    }

    #[test]
    fn nothing_to_do_is_one_empty_part_on_the_calling_thread() {
        for threads in [0, 1, 8] {
            let parts = in_parts(0, threads, |part| (part, current().id()));
            assert_eq!(parts, [(0..0, current().id())]);
        }
    }

    #[test]
    fn more_threads_than_numbers_are_not_started() {
        let mut ids = in_parts(3, 1_000, |_| current().id());
        assert_eq!(ids.len(), 3);
        assert_eq!(ids[0], current().id());
        ids.dedup();
        assert_eq!(ids.len(), 3);
    }

    #[test]
    fn a_panic_reaches_the_caller_as_it_was_thrown() {
        for thrower in [0, 1, 3] {
            let work = |part: Range<usize>| {
                if part.contains(&thrower) {
                    std::panic::panic_any(("part", thrower));
                }
            };
            let thrown = catch_unwind(AssertUnwindSafe(|| in_parts(4, 4, work))).unwrap_err();
            assert_eq!(thrown.downcast_ref(), Some(&("part", thrower)));
        }
    }
}

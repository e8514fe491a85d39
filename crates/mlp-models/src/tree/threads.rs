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

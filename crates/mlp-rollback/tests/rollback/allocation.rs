//! That choosing a version and hearing of an outcome allocate nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use mlp_core::{Outcome, OutcomeStatus, RequestKey, Router};
use mlp_rollback::CanaryPlan;

use crate::support::{V2, World, config, me, percent};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts what this thread asks for.
struct Counting;

#[allow(
    unsafe_code,
    reason = "an allocator cannot be written without; every call is the system allocator's"
)]
// SAFETY: each method passes its arguments on to the system's allocator, whose contract is the same.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn routing_and_recording_allocate_nothing() {
    let world = World::started(config(), 1);
    let plan = CanaryPlan::fixed(percent(50.0)).unwrap();
    world.deployment.start_canary(V2, plan, &me()).unwrap();
    world.deployment.pin("alice", V2, &me()).unwrap();
    let serve = || {
        for sequence in 0..1_000 {
            for unit in [None, Some("alice"), Some("somebody else")] {
                let request = RequestKey::new(sequence);
                let request = unit.map_or(request, |unit| request.with_unit(unit));
                let route = world.deployment.route(&request);
                let latency = Duration::from_micros(100);
                let outcome = Outcome::new(&route, OutcomeStatus::Answered, latency);
                world.deployment.observe(&outcome);
            }
        }
    };
    assert_eq!(allocations(serve), 0);
    // The control: what does allocate is counted.
    assert!(allocations(|| drop(std::hint::black_box(vec![1, 2, 3]))) > 0);
}

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn queue(limit: usize) -> Queue {
    Queue::new("chat".to_owned(), limit, SinkSettings::default(), 7)
}

fn at(now: Duration) -> Moment {
    Moment { now, wall: Timestamp::UNIX_EPOCH }
}

fn notification(key: &str, severity: Severity, status: AlertStatus) -> Notification {
    let labels: Labels = [("alertname".to_owned(), key.to_owned())].into();
    let alert = Alert {
        labels: labels.clone(),
        status,
        severity,
        summary: String::new(),
        runbook_url: String::new(),
        starts_at: Timestamp::UNIX_EPOCH,
        ends_at: None,
    };
    message(key, &labels, vec![alert]).unwrap()
}

fn push(queue: &mut Queue, key: &str, severity: Severity) {
    queue.push(notification(key, severity, AlertStatus::Firing), Duration::ZERO);
}

/// Delivers all that waits: the keys and statuses, in order.
fn drain(queue: &mut Queue) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(parcel) = queue.take(at(Duration::ZERO)) {
        let n = parcel.notification();
        told.push(format!("{} {}", n.dedupe_key, n.status));
        queue.settle(Ok(()), Duration::ZERO);
    }
    told
}

#[test]
fn what_is_less_urgent_pushes_out_nothing_more_urgent() {
    let mut queue = queue(2);
    push(&mut queue, "a", Severity::P1);
    push(&mut queue, "b", Severity::P1);
    push(&mut queue, "late", Severity::P3);
    assert_eq!(queue.undelivered()[0].notification.dedupe_key, "late");
    push(&mut queue, "c", Severity::P1);
    assert_eq!(queue.undelivered()[1].notification.dedupe_key, "a", "of equals the oldest");
    push(&mut queue, "page", Severity::P0);
    push(&mut queue, "page 2", Severity::P0);
    push(&mut queue, "page 3", Severity::P0);
    assert_eq!(drain(&mut queue), ["page firing", "page 2 firing", "page 3 firing"]);
}

#[test]
fn no_resolve_is_kept_whose_firing_was_given_up() {
    let mut queue = queue(2);
    push(&mut queue, "a", Severity::P3);
    queue.push(notification("a", Severity::P3, AlertStatus::Resolved), Duration::ZERO);
    push(&mut queue, "b", Severity::P2);
    assert_eq!(queue.undelivered().len(), 2, "both of a group");
    assert_eq!(drain(&mut queue), ["b firing"]);
}

#[test]
fn of_a_thousand_mixed_ones_each_is_delivered_merged_given_up_or_waits() {
    let severities = [Severity::P2, Severity::P0, Severity::P3, Severity::P1];
    let mut queue = queue(20);
    for k in 0..1_000_usize {
        let status = if k % 3 == 0 { AlertStatus::Resolved } else { AlertStatus::Firing };
        let key = format!("key {}", k * 7 % 90);
        queue.push(notification(&key, severities[k % 4], status), Duration::ZERO);
        if k % 40 == 0 && queue.take(at(Duration::ZERO)).is_some() {
            queue.settle(Ok(()), Duration::ZERO);
        }
        let s = queue.status(Duration::ZERO);
        assert_eq!(s.delivered + s.merged + s.undelivered + s.waiting as u64, k as u64 + 1);
    }
    let s = queue.status(Duration::ZERO);
    assert!(s.delivered > 10 && s.merged > 100 && s.undelivered > 100, "all of it happens: {s:?}");
    assert!(queue.undelivered().iter().all(|u| u.notification.severity > Severity::P0));
    assert!(queue.undelivered().len() <= MAX_UNDELIVERED);
}

#[test]
fn a_late_answer_settles_only_what_is_still_as_it_was() {
    for (merged, delivered) in [(false, 1), (true, 0)] {
        let mut queue = queue(5);
        push(&mut queue, "a", Severity::P1);
        let late = queue.take(at(Duration::ZERO)).unwrap();
        queue.abandon(60 * SECOND);
        if merged {
            let mut more = notification("a", Severity::P1, AlertStatus::Firing);
            more.alerts[0].labels.insert("host".to_owned(), "b".to_owned());
            queue.push(more, 60 * SECOND);
        }
        queue.came_back(late, Ok(()), 61 * SECOND);
        let status = queue.status(61 * SECOND);
        assert_eq!((status.delivered, status.waiting), (delivered, 1 - delivered as usize));
        assert_eq!(status.stuck, 1, "its thread has yet to end");
        queue.no_longer_stuck();
        assert_eq!(queue.status(61 * SECOND).stuck, 0);
    }
    let mut queue = queue(5);
    push(&mut queue, "a", Severity::P1);
    let late = queue.take(at(Duration::ZERO)).unwrap();
    queue.abandon(60 * SECOND);
    queue.came_back(late, Err(Failure::Never("no".to_owned())), 61 * SECOND);
    assert_eq!(queue.status(61 * SECOND).waiting, 1, "a late refusal is tried again");
}

#[test]
fn queues_of_one_name_in_two_processes_do_not_try_in_step() {
    let wait = |seed: u64| {
        let mut queue = Queue::new("chat".to_owned(), 5, SinkSettings::default(), seed);
        push(&mut queue, "a", Severity::P1);
        let waits: Vec<Duration> = (0..6)
            .map(|_| {
                let now = queue.retry_at;
                queue.take(at(now)).unwrap();
                let reason = "503".to_owned();
                queue.settle(Err(Failure::Later { after: None, reason }), now);
                queue.retry_at - now
            })
            .collect();
        for (failures, wait) in waits.iter().enumerate() {
            let full = SECOND * 2_u32.pow(failures as u32);
            assert!((full / 2..=full).contains(wait), "{wait:?} of {full:?}");
        }
        waits
    };
    assert_eq!(wait(1), wait(1));
    assert_ne!(wait(1), wait(2));
}

//! Sinks that stay within the process.

use mlp_core::{
    Alert, AlertSink, AlertStatus, Labels, Notification, Severity, SinkError, Timestamp,
};
use mlp_monitor::{ChannelSink, MemorySink};

fn notification(key: &str, severity: Severity, status: AlertStatus) -> Notification {
    let alert = Alert {
        labels: [("alertname".to_owned(), key.to_owned())].into(),
        status,
        severity,
        summary: format!("{key} is wrong"),
        runbook_url: "https://runbooks.example/it".to_owned(),
        starts_at: Timestamp::UNIX_EPOCH,
        ends_at: None,
    };
    Notification {
        dedupe_key: key.to_owned(),
        group_labels: Labels::new(),
        status,
        severity,
        alerts: vec![alert],
    }
}

fn page(key: &str) -> Notification {
    notification(key, Severity::P0, AlertStatus::Firing)
}

#[test]
fn a_channel_hands_over_in_order_is_tried_again_when_full_and_refuses_when_nobody_listens() {
    let (sink, receiver) = ChannelSink::new(2);
    for key in ["a", "b"] {
        sink.deliver(&page(key)).unwrap();
    }
    let full = sink.deliver(&page("c"));
    assert!(matches!(full, Err(SinkError::Retry { after: None, .. })), "{full:?}");
    assert_eq!(receiver.recv().unwrap(), page("a"));
    sink.deliver(&page("c")).unwrap();
    let rest: Vec<String> = receiver.try_iter().map(|n| n.dedupe_key).collect();
    assert_eq!(rest, ["b", "c"]);
    drop(receiver);
    let nobody = sink.deliver(&page("d"));
    assert!(matches!(nobody, Err(SinkError::Refused { .. })), "{nobody:?}");
    let (sink, receiver) = ChannelSink::new(0);
    sink.deliver(&page("a")).unwrap();
    assert_eq!(receiver.len(), 1, "one has room at least");
}

#[test]
fn memory_keeps_the_latest_ones_up_to_its_limit() {
    let sink = MemorySink::with_limit(2);
    for key in ["a", "b", "c"] {
        sink.deliver(&page(key)).unwrap();
    }
    assert_eq!(sink.notifications(), [page("b"), page("c")]);
    assert_eq!(sink.take(), [page("b"), page("c")]);
    assert_eq!(sink.notifications(), []);
    let none = MemorySink::with_limit(0);
    none.deliver(&page("a")).unwrap();
    assert_eq!(none.take(), []);
}

#[cfg(feature = "tracing")]
mod events {
    use super::*;
    use mlp_monitor::TracingSink;
    use std::fmt::{Debug, Write};
    use std::sync::{Arc, Mutex};
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    /// Keeps events as "LEVEL field=value …".
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    struct Text(String);

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, " {}={value:?}", field.name()).unwrap();
        }
    }

    impl Subscriber for Kept {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut text = Text(event.metadata().level().to_string());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn tracing_gets_one_event_as_loud_as_the_notification_is_urgent() {
        let kept = Kept::default();
        tracing::subscriber::with_default(kept.clone(), || {
            for severity in [Severity::P0, Severity::P1, Severity::P2, Severity::P3] {
                let told = notification("disk\nfull", severity, AlertStatus::Firing);
                TracingSink.deliver(&told).unwrap();
            }
            TracingSink
                .deliver(&notification("disk", Severity::P0, AlertStatus::Resolved))
                .unwrap();
            let empty = Notification { alerts: Vec::new(), ..page("none") };
            TracingSink.deliver(&empty).unwrap();
        });
        let events = kept.0.lock().unwrap().clone();
        let levels: Vec<&str> = events.iter().filter_map(|event| event.split(' ').next()).collect();
        assert_eq!(levels, ["ERROR", "ERROR", "WARN", "INFO", "INFO", "ERROR"]);
        for part in [
            r#"key="disk\nfull""#,
            "severity=P0",
            "status=firing",
            "alerts=1",
            r#"summary="disk\nfull is wrong""#,
            r#"runbook="https://runbooks.example/it""#,
        ] {
            assert!(events[0].contains(part), "{part} in {}", events[0]);
        }
        assert!(events[4].contains("status=resolved"), "{}", events[4]);
    }
}

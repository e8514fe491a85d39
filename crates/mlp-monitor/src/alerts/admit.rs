//! What an alert may carry: bounds, so that no label bomb costs memory or a reader's time.

use mlp_core::{Alert, AlertStatus, Labels};

use super::Fingerprint;
use crate::error::{MonitorError, Result};

/// The most labels an alert may have.
const MAX_LABELS: usize = 64;
/// The longest text that is kept, in characters.
const MAX_TEXT: usize = 1_024;
/// The longest label name or value of an alert whose labels are more than this together, in characters.
const MAX_ALL_LABELS: usize = 8_192;
const MAX_LABEL_OF_MANY: usize = 64;

/// Bounds what an alert may carry. What is over needs no runbook any more.
pub(crate) fn admit(alert: Alert) -> Result<Alert> {
    if alert.status == AlertStatus::Firing && alert.runbook_url.trim().is_empty() {
        let name = alert.labels.get("alertname").cloned().unwrap_or_default();
        return Err(MonitorError::NoRunbook { what: "alert", name: cut(name) });
    }
    Ok(Alert {
        labels: admit_labels(alert.labels)?,
        summary: cut(alert.summary),
        runbook_url: cut(alert.runbook_url),
        ..alert
    })
}

/// The labels as the manager knows them: bounded, and without those that have no value, which are none.
pub(crate) fn admit_labels(mut labels: Labels) -> Result<Labels> {
    labels.retain(|_, value| !value.is_empty());
    if labels.len() > MAX_LABELS {
        return Err(MonitorError::LimitExceeded { what: "labels of an alert", limit: MAX_LABELS });
    }
    Ok(cut_labels(labels))
}

/// At most 1,024 characters, the last of which says that there were more.
pub(crate) fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_TEXT - 1) {
        Some((end, _)) if text[end..].chars().nth(1).is_some() => format!("{}…", &text[..end]),
        _ => text,
    }
}

/// Labels of bounded length. What is cut ends in "…" and a hash of the whole, so that labels that differ stay different.
fn cut_labels(labels: Labels) -> Labels {
    let cut_to = |labels: Labels, longest: usize| -> Labels {
        let pair = |(name, value)| (shorten(name, longest), shorten(value, longest));
        labels.into_iter().map(pair).collect()
    };
    let labels = cut_to(labels, MAX_TEXT);
    let length: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
    if length > MAX_ALL_LABELS { cut_to(labels, MAX_LABEL_OF_MANY) } else { labels }
}

fn shorten(text: String, longest: usize) -> String {
    // A text of so few bytes has no more characters.
    if text.len() <= longest || text.chars().count() <= longest {
        return text;
    }
    let hash = Fingerprint::of(&[(text.clone(), "whole".to_owned())].into());
    let kept: String = text.chars().take(longest - 17).collect();
    format!("{kept}…{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::{Severity, Timestamp};

    fn alert(labels: Labels) -> Alert {
        Alert {
            labels,
            status: AlertStatus::Firing,
            severity: Severity::P1,
            summary: "é".repeat(2_000),
            runbook_url: "https://runbooks/it".to_owned(),
            starts_at: Timestamp::UNIX_EPOCH,
            ends_at: None,
        }
    }

    #[test]
    fn labels_without_a_value_are_none() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let admitted = admit(alert(labels(&[("a", "1"), ("b", "")]))).unwrap();
        assert_eq!(admitted.labels, labels(&[("a", "1")]));
    }

    #[test]
    fn a_label_bomb_is_cut_and_says_so_and_stays_itself() {
        let host = |end: &str| [("host".to_owned(), "é".repeat(1 << 19) + end)].into();
        let [a, b] = ["a", "b"].map(|end| admit(alert(host(end))).unwrap());
        assert_ne!(a.labels, b.labels, "what differs after the cut is still different");
        assert_eq!(a.labels["host"].chars().count(), MAX_TEXT);
        assert!(a.labels["host"].contains('…'));
        assert_eq!((a.summary.chars().count(), a.summary.chars().last()), (MAX_TEXT, Some('…')));
        let many: Labels =
            (0..64).map(|k| (format!("{k}{}", "n".repeat(5_000)), "v".repeat(5_000))).collect();
        let labels = admit(alert(many)).unwrap().labels;
        assert_eq!(labels.len(), 64);
        assert!(labels.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>() <= 64 * 2 * 66);
    }
}

//! A notification in words, as chat and mail show it.

use mlp_core::{Alert, AlertStatus, Notification};

/// How many alerts a message lists.
const MAX_ALERTS: usize = 20;

/// What it is about in one line: "[FIRING:2] P1 slow".
pub(super) fn title(notification: &Notification) -> String {
    let count = notification.alerts.iter().filter(|a| a.status == notification.status).count();
    let status = notification.status.to_string().to_uppercase();
    let mut about: Vec<&str> = notification.group_labels.values().map(String::as_str).collect();
    let first = notification.alerts.first();
    if about.is_empty() {
        about.extend(first.and_then(|alert| alert.labels.get("alertname")).map(String::as_str));
    }
    let text = format!("[{status}:{count}] {} {}", notification.severity, about.join(" "));
    cut(&text.replace(char::is_control, " "), 200)
}

/// The alerts that are listed, and how many are not.
pub(super) fn listed(notification: &Notification) -> (impl Iterator<Item = &Alert>, usize) {
    let more = notification.alerts.len().saturating_sub(MAX_ALERTS);
    (notification.alerts.iter().take(MAX_ALERTS), more)
}

/// The labels of an alert that its group does not have: "host=a, model=b".
pub(super) fn own_labels(alert: &Alert, notification: &Notification) -> String {
    let own =
        alert.labels.iter().filter(|(name, _)| !notification.group_labels.contains_key(*name));
    own.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

/// "firing since …" or "resolved at …".
pub(super) fn when(alert: &Alert) -> String {
    match (alert.status, alert.ends_at) {
        (AlertStatus::Resolved, Some(end)) => format!("resolved at {end}"),
        (status, _) => format!("{status} since {}", alert.starts_at),
    }
}

/// At most this many characters, the last of which says that there were more.
pub(super) fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some(_) => text.chars().take(longest - 1).chain(['…']).collect(),
    }
}

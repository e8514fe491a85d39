//! One message about several alerts.

use mlp_core::{Alert, AlertStatus, Labels, Notification};

/// A message about these alerts: firing ones first, the most urgent of them first. None without alerts.
pub(crate) fn message(key: &str, labels: &Labels, mut alerts: Vec<Alert>) -> Option<Notification> {
    let firing = |alert: &Alert| alert.status == AlertStatus::Firing;
    alerts.sort_by(|a, b| {
        firing(b).cmp(&firing(a)).then(a.severity.cmp(&b.severity)).then(a.labels.cmp(&b.labels))
    });
    let first = alerts.first()?;
    Some(Notification {
        dedupe_key: key.to_owned(),
        group_labels: labels.clone(),
        status: first.status,
        severity: first.severity,
        alerts,
    })
}

//! Slack's incoming webhooks.

use mlp_core::{AlertSink, Notification, SinkError};
use serde_json::{Value, json};

use super::http::{Endpoint, HttpOptions};
use super::text::{cut, listed, own_labels, title, when};
use crate::error::Result;

/// The longest text that Slack takes in a section.
const MAX_SECTION: usize = 3_000;

/// Posts notifications to a channel through an incoming webhook of Slack.
///
/// What alerts say is escaped, so that a label can neither mention people nor change the layout. A message lists 20 alerts.
#[derive(Debug)]
pub struct SlackSink(Endpoint);

impl SlackSink {
    /// A sink that posts to this webhook; its address is a secret.
    ///
    /// # Errors
    /// If the address is not http or https, has no host, or carries a password.
    pub fn new(webhook_url: &str, options: HttpOptions) -> Result<Self> {
        Endpoint::new(webhook_url, &options).map(Self)
    }
}

impl AlertSink for SlackSink {
    fn deliver(&self, notification: &Notification) -> std::result::Result<(), SinkError> {
        self.0.post(&message(notification))
    }
}

fn message(notification: &Notification) -> Value {
    let title = escape(&title(notification));
    let (alerts, more) = listed(notification);
    let mut text = format!("*{title}*");
    let mut left_out = more;
    for alert in alerts {
        let line = format!(
            "\n• {} {}: {} ({}) <{}|runbook>",
            alert.severity,
            escape(&cut(&own_labels(alert, notification), 200)),
            escape(&cut(&alert.summary, 300)),
            when(alert),
            link(&alert.runbook_url)
        );
        // The last line says how many there are more; it is shorter than 40 characters.
        if left_out > more || text.chars().count() + line.chars().count() > MAX_SECTION - 40 {
            left_out += 1;
        } else {
            text.push_str(&line);
        }
    }
    if left_out > 0 {
        text.push_str(&format!("\nand {left_out} more"));
    }
    json!({
        "text": title,
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}}],
    })
}

/// Slack's three control characters, as its documentation wants them.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\n', " ")
}

/// A link whose text cannot end it.
fn link(url: &str) -> String {
    escape(url).replace('|', "%7C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::sample::{firing, storm};

    #[test]
    fn slack_gets_a_section_in_which_nothing_can_mention_anybody() {
        assert_eq!(
            message(&firing()),
            json!({
                "text": "[FIRING:1] P1 slow &lt;&amp;&gt;",
                "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text":
                    "*[FIRING:1] P1 slow &lt;&amp;&gt;*\n\
                     • P1 host=a: p99 is 70, above 50 &lt;!channel&gt; (firing since 2026-03-01T12:00:00.000000Z) <https://runbooks.example/slow|runbook>\n\
                     • P2 host=b: p99 is 40, fine again (resolved at 2026-03-01T12:05:00.000000Z) <https://runbooks.example/slow|runbook>"
                }}],
            })
        );
    }

    #[test]
    fn a_storm_fits_into_a_section_and_says_how_many_are_left_out() {
        let message = message(&storm(1_000));
        let text = message["blocks"][0]["text"]["text"].as_str().unwrap();
        assert!(text.chars().count() <= MAX_SECTION, "{}", text.chars().count());
        let lines = text.lines().filter(|line| line.starts_with('•')).count();
        assert!(text.ends_with(&format!("\nand {} more", 1_000 - lines)), "{lines}");
    }
}

//! Slack's incoming webhooks.

use mlp_core::{AlertSink, Notification, SinkError};
use serde_json::{Value, json};

use super::http::{Endpoint, HttpOptions};
use super::text::{listed, own_labels, title, when};
use crate::error::Result;

/// The longest texts that Slack takes in a header and in a section.
const MAX_HEADER: usize = 150;
const MAX_SECTION: usize = 3_000;
/// How many runbooks a message links to.
const MAX_LINKS: usize = 5;

/// Posts notifications to a channel through an incoming webhook of Slack.
///
/// What alerts say is plain text in Slack's sense, and escaped: a label can neither mention people nor format, link or change anything. A message
/// lists 20 alerts, and links to their first five runbooks.
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
    let title = title(notification);
    let (alerts, more) = listed(notification);
    let mut text = String::new();
    let mut left_out = more;
    let mut runbooks: Vec<&str> = Vec::new();
    for alert in alerts {
        let line = format!(
            "• {} {}: {} ({})\n",
            alert.severity,
            escape(&own_labels(alert, notification), 200),
            escape(&alert.summary, 300),
            when(alert),
        );
        // The last line says how many there are more; it is shorter than 40 characters.
        if left_out > more || text.chars().count() + line.chars().count() > MAX_SECTION - 40 {
            left_out += 1;
            continue;
        }
        text.push_str(&line);
        let url = alert.runbook_url.as_str();
        if !url.is_empty() && !runbooks.contains(&url) && runbooks.len() < MAX_LINKS {
            runbooks.push(url);
        }
    }
    if left_out > 0 {
        text.push_str(&format!("and {left_out} more"));
    }
    let plain = |text: &str| json!({"type": "plain_text", "text": text, "emoji": false});
    let mut blocks = vec![json!({"type": "header", "text": plain(&escape(&title, MAX_HEADER))})];
    if !text.is_empty() {
        blocks.push(json!({"type": "section", "text": plain(text.trim_end())}));
    }
    for url in runbooks {
        let link = format!("<{}|runbook>", link(url));
        blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": link}}));
    }
    // What is shown where blocks are not, such as on a locked telephone.
    json!({"text": escape(&title, MAX_HEADER), "blocks": blocks})
}

/// Slack's three control characters as its documentation wants them, in at most this many characters of one line.
fn escape(text: &str, longest: usize) -> String {
    let mut escaped = String::new();
    let mut length = 0;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let written = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            c if c.is_control() => " ",
            _ => &c.to_string(),
        };
        length += written.chars().count();
        if length > longest || length == longest && rest.clone().next().is_some() {
            escaped.push('…');
            break;
        }
        escaped.push_str(written);
    }
    escaped
}

/// A link that its text cannot end.
fn link(url: &str) -> String {
    escape(url, MAX_SECTION - 20).replace('|', "%7C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::sample::{firing, resolved, storm};

    #[test]
    fn slack_gets_plain_text_in_which_nothing_can_mention_anybody() {
        let plain = |text: &str| json!({"type": "plain_text", "text": text, "emoji": false});
        let lines = "• P1 host=a: p99 is 70, above 50 &lt;!channel&gt; (firing since 2026-03-01T12:00:00.000000Z)\n\
                     • P2 host=b: p99 is 40, fine again (resolved at 2026-03-01T12:05:00.000000Z)";
        let link = json!({"type": "section", "text": {"type": "mrkdwn", "text": "<https://runbooks.example/slow|runbook>"}});
        assert_eq!(
            message(&firing()),
            json!({
                "text": "[FIRING:1] P1 slow &lt;&amp;&gt;",
                "blocks": [
                    {"type": "header", "text": plain("[FIRING:1] P1 slow &lt;&amp;&gt;")},
                    {"type": "section", "text": plain(lines)},
                    link,
                ],
            })
        );
        let over = message(&resolved());
        assert_eq!(over["text"], "[RESOLVED:2] P1 slow &lt;&amp;&gt;");
        let text = over["blocks"][1]["text"]["text"].as_str().unwrap();
        assert!(text.lines().all(|line| line.contains("(resolved at 2026-03-01T12:05")), "{text}");
    }

    #[test]
    fn nothing_that_an_alert_says_is_formatted() {
        let mut notification = firing();
        let marks = "*bold* _italic_ ~struck~ `code` ```block``` :tada: <https://evil|here>";
        notification.alerts[0].summary = marks.to_owned();
        notification.alerts[0].labels.insert("host".to_owned(), marks.to_owned());
        notification.group_labels.insert("alertname".to_owned(), marks.to_owned());
        notification.alerts[0].runbook_url = "https://runbooks.example/|*a*> <!channel>".to_owned();
        let message = message(&notification);
        let shown = |block: &Value| block["text"]["text"].as_str().unwrap().to_owned();
        for block in message["blocks"].as_array().unwrap() {
            if block["text"]["type"] == "mrkdwn" {
                // Nothing but one link: where it ends, the text ends.
                let text = shown(block);
                let inside = text.strip_prefix('<').unwrap().strip_suffix("|runbook>").unwrap();
                assert!(!inside.contains(['<', '>', '|', '\n']), "{text}");
            } else {
                assert_eq!(block["text"]["type"], "plain_text");
                assert!(!shown(block).contains(['<', '>']), "{block}");
            }
        }
        assert!(shown(&message["blocks"][1]).contains("*bold* _italic_ ~struck~ `code`"));
    }

    #[test]
    fn a_storm_fits_into_a_section_and_says_how_many_are_left_out() {
        let message = message(&storm(1_000));
        let text = message["blocks"][1]["text"]["text"].as_str().unwrap();
        assert!(text.chars().count() <= MAX_SECTION, "{}", text.chars().count());
        let lines = text.lines().filter(|line| line.starts_with('•')).count();
        assert!(lines > 0);
        assert!(text.ends_with(&format!("\nand {} more", 1_000 - lines)), "{lines}");
        let long = escape(&"<&>".repeat(300), 150);
        assert!(long.chars().count() <= 150 && long.ends_with('…'), "{long}");
        assert_eq!(escape("abc", 3), "abc");
        assert_eq!(escape("abcd", 3), "ab…");
    }
}

//! A record in words.

use std::fmt::Display;

use crate::code::{Code, GitState, Tree};
use crate::record::Record;

const UNKNOWN: &str = "not recorded";

/// A model card in Markdown: what the model is and is not fit for, what it was made from, how it scored. What is not known is said to be so.
///
/// What the record says is escaped: no value can add a heading, a list or a link, except that GitHub links what looks like a mail address.
#[must_use]
pub fn model_card(record: &Record) -> String {
    let mut card = Card { text: format!("# {}\n\n", escape(&record.model)) };
    let description = record.description.as_deref().map(escape);
    card.line(description.as_deref().unwrap_or("No description was recorded."));
    card.line("");
    card.item("record", record.id);
    card.item("made at", record.created_at);
    card.item("author", record.author.as_deref().unwrap_or(UNKNOWN));
    for parent in &record.parents {
        card.item("builds on record", parent);
    }
    if let Some(corrected) = record.corrects {
        card.item("corrects record", corrected);
    }
    card.section("Known limits", record.limits.is_empty());
    record.limits.iter().for_each(|limit| card.line(&format!("* {}", escape(limit))));
    data(&mut card, record);
    card.section("Code", false);
    code(&mut card, &record.code);
    card.section(
        "Configuration",
        record.configuration.iter().next().is_none() && record.seeds.is_empty(),
    );
    for (name, value) in record.configuration.iter() {
        card.item(name, value);
    }
    for (purpose, seed) in &record.seeds {
        card.item(&format!("seed of {purpose}"), seed);
    }
    environment(&mut card, record);
    card.section("Training and scores", record.training.is_none());
    if let Some(training) = &record.training {
        card.item("began", training.started_at);
        card.item("ended", training.ended_at);
        for (metric, value) in training.metrics.iter() {
            card.item(metric, value);
        }
    }
    card.section("Artifacts", record.artifacts.is_empty());
    for (name, artifact) in &record.artifacts {
        card.item(name, format!("{} ({} bytes)", artifact.hash, artifact.size));
    }
    card.text
}

struct Card {
    text: String,
}

impl Card {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn item(&mut self, name: &str, value: impl Display) {
        self.line(&format!("* {}: {}", escape(name), escape(value)));
    }

    fn section(&mut self, title: &str, empty: bool) {
        self.line(&format!("\n## {title}\n"));
        if empty {
            self.line(UNKNOWN);
        }
    }
}

fn data(card: &mut Card, record: &Record) {
    card.section("Data", record.datasets.is_empty());
    for (role, source) in &record.datasets {
        card.item(role, &source.dataset);
        source.query.iter().for_each(|query| card.item("read by", query));
        source.filters.iter().for_each(|filter| card.item("filtered by", filter));
        source.as_of.iter().for_each(|moment| card.item("as of", moment));
    }
    if let Some(features) = &record.features {
        card.item("features", format!("{} {}", features.name, features.version));
        features.transforms.iter().for_each(|transform| card.item("transformed by", transform));
    }
}

fn code(card: &mut Card, code: &Code) {
    let git: &GitState = match code {
        Code::Git(git) => git,
        Code::Unknown { reason } => return card.item("unknown", reason),
    };
    card.item("commit", git.commit.as_deref().unwrap_or("before the first one"));
    git.branch.iter().for_each(|branch| card.item("branch", branch));
    git.remote.iter().for_each(|remote| card.item("remote", remote));
    card.item(
        "tree",
        match git.tree {
            Tree::Clean => "as committed",
            Tree::Dirty => "with changes that are not committed",
        },
    );
    git.diff_hash.iter().for_each(|hash| card.item("hash of the changes", hash));
    if git.untracked_count > 0 {
        card.item("untracked files", git.untracked_count);
    }
}

fn environment(card: &mut Card, record: &Record) {
    card.section("Environment", record.environment.is_none());
    // Its fields as they are written, one a line: there is nothing to choose between.
    let fields = record.environment.as_ref().and_then(|it| serde_json::to_value(it).ok());
    if let Some(serde_json::Value::Object(fields)) = fields {
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            match value {
                serde_json::Value::String(text) => card.item(name, text),
                serde_json::Value::Array(list) if list.len() > 10 => {
                    card.item(name, format!("{} of them", list.len()))
                }
                serde_json::Value::Object(map) if map.len() > 10 => {
                    card.item(name, format!("{} of them", map.len()))
                }
                other => card.item(name, other),
            }
        }
    }
}

/// Text that Markdown shows as it is: on one line, its marks escaped, GitHub's links of bare web addresses among them. Mail addresses may
/// become links: GitHub looks for them once escapes are gone.
fn escape(text: impl Display) -> String {
    let text = text.to_string().replace(char::is_control, " ");
    let text = text.trim_start();
    let begins_list = list_mark(text);
    let mut escaped = String::new();
    for (at, c) in text.char_indices() {
        let is_mark = match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '!' | '~' | '&' => true,
            ':' => text[at..].starts_with("://"),
            '.' => www(text, at),
            _ => false,
        };
        if is_mark || begins_list == Some(at) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn www(text: &str, dot: usize) -> bool {
    let before = dot.checked_sub(3).and_then(|from| text.get(from..dot));
    before.is_some_and(|before| before.eq_ignore_ascii_case("www"))
}

/// Where the mark stands that begins a list or a line across the page: `-`, `+` or `=` at the beginning, `.` or `)` after a number there.
fn list_mark(text: &str) -> Option<usize> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let marks = if at == 0 { "-+=" } else { ".)" };
    text[at..].starts_with(|c| marks.contains(c)).then_some(at)
}

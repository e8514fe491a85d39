//! A record in words.

use std::fmt::Write;

use crate::code::{Code, Tree};
use crate::record::Record;

/// A model card in Markdown: what the model is, what it was made from, how it scored. What is not known is said to be so.
#[must_use]
pub fn model_card(record: &Record) -> String {
    let mut text = String::new();
    let unknown = "not recorded";
    let mut line = |line: String| {
        let result = writeln!(text, "{line}");
        debug_assert!(result.is_ok(), "writing to a string does not fail");
    };
    line(format!("# {}\n", record.model));
    line(format!("{}\n", record.description.as_deref().unwrap_or("No description was recorded.")));
    line(format!("* record: {}", record.id));
    line(format!("* made at: {}", record.created_at));
    line(format!("* author: {}", record.author.as_deref().unwrap_or(unknown)));
    line(match &record.code {
        Code::Git(git) => {
            let commit = git.commit.as_deref().unwrap_or("before the first commit");
            let tree = match git.tree {
                Tree::Clean => "as committed",
                Tree::Dirty => "with changes that are not committed",
            };
            format!("* code: {commit}, {tree}")
        }
        Code::Unknown { reason } => format!("* code: unknown ({reason})"),
    });
    line("\n## Data\n".to_owned());
    for (role, source) in &record.datasets {
        line(format!("* {role}: {}", source.dataset));
    }
    if record.datasets.is_empty() {
        line(unknown.to_owned());
    }
    line("\n## Configuration\n".to_owned());
    for (name, value) in record.configuration.iter() {
        line(format!("* {name}: {value}"));
    }
    for (purpose, seed) in &record.seeds {
        line(format!("* seed of {purpose}: {seed}"));
    }
    line("\n## Scores\n".to_owned());
    match &record.training {
        Some(training) => {
            for (metric, value) in training.metrics.iter() {
                line(format!("* {metric}: {value}"));
            }
        }
        None => line(unknown.to_owned()),
    }
    line("\n## Artifacts\n".to_owned());
    for (name, artifact) in &record.artifacts {
        line(format!("* {name}: {} ({} bytes)", artifact.hash, artifact.size));
    }
    text
}

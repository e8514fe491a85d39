//! The printed report: a section a stage, aligned lines, what was decided and why, and a count of the checks that failed.

use std::fmt::Display;
use std::process::ExitCode;

/// Prints the stages, and remembers the checks that failed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    stages: usize,
    checks: usize,
    failed: Vec<String>,
}

impl Report {
    /// Begins a stage.
    pub(crate) fn stage(&mut self, title: &str) {
        self.stages += 1;
        println!("\n{}. {title}\n{}", self.stages, "─".repeat(96));
    }

    /// A line: what it is about, and what is so.
    pub(crate) fn line(&self, label: &str, text: impl Display) {
        let text = text.to_string();
        let mut lines = text.lines();
        println!("  {label:<20} {}", lines.next().unwrap_or_default());
        lines.for_each(|line| println!("  {:<20} {line}", ""));
    }

    /// A table or another block of lines, indented.
    pub(crate) fn block(&self, text: impl Display) {
        text.to_string().lines().for_each(|line| println!("  {line}"));
    }

    /// A decision, and why it was taken.
    pub(crate) fn decision(&self, text: impl Display) {
        self.line("=> decided", text);
    }

    /// Something that must hold; if it does not, the program ends with a failure after its last stage.
    pub(crate) fn check(&mut self, what: &str, holds: bool) {
        self.line(if holds { "✓ checked" } else { "✗ FAILED" }, what);
        self.checks += 1;
        if !holds {
            self.failed.push(format!("stage {}: {what}", self.stages));
        }
    }

    /// Ends the report: success if every check held.
    pub(crate) fn end(&self) -> ExitCode {
        if self.failed.is_empty() {
            println!("\nAll {} checks of {} stages held.", self.checks, self.stages);
            return ExitCode::SUCCESS;
        }
        println!("\n{} of {} checks failed:", self.failed.len(), self.checks);
        self.failed.iter().for_each(|failed| println!("  {failed}"));
        ExitCode::FAILURE
    }
}

//! One line per step with its time, and a bar while bytes move.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::{dim, green, is_terminal, red, say};

/// The column at which times are written: right of the longest line that packing writes, and lines stay below 80.
const TIME_COLUMN: usize = 66;

/// Steps as they happen. On a terminal the current step is shown while it goes on.
pub(crate) struct Progress {
    quiet: bool,
    current: Option<(String, Instant)>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `quiet` shows nothing at all: with `--json`.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet, current: None, bar: None }
    }

    /// A step begins.
    pub(crate) fn begin(&mut self, title: &str) {
        self.clear();
        self.current = Some((title.to_owned(), Instant::now()));
        if !self.quiet && is_terminal() {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg}") {
                bar.set_style(style);
            }
            bar.set_message(title.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            self.bar = Some(bar);
        }
    }

    /// Something about the step that goes on.
    pub(crate) fn detail(&mut self, text: &str) {
        if let (Some(bar), Some((title, _))) = (&self.bar, &self.current) {
            let text: String = text.chars().take(60).collect();
            bar.set_message(format!("{title}  {}", dim(&text)));
        }
    }

    /// So much of the step's bytes is done.
    pub(crate) fn bytes(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            if bar.length() != Some(total) {
                bar.set_length(total);
                let template = "  {spinner} {msg} [{bar:30}] {decimal_bytes}/{decimal_total_bytes}";
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style.progress_chars("=> "));
                }
            }
            bar.set_position(done);
        }
    }

    /// The step is done, and this is what it was.
    pub(crate) fn done(&mut self, text: &str) {
        let took = self.current.take().map(|(_, begin)| begin.elapsed());
        self.done_after(text, took);
    }

    /// The same for a step that somebody else timed.
    pub(crate) fn done_after(&mut self, text: &str, took: Option<Duration>) {
        self.clear();
        self.current = None;
        if !self.quiet {
            let time = took.map_or_else(String::new, |took| format!("{:.2} s", took.as_secs_f64()));
            let gap = " ".repeat(TIME_COLUMN.saturating_sub(text.chars().count()).max(1));
            say(format!("  {} {text}{gap}{}", green("✓"), dim(&time)).trim_end());
        }
    }

    /// The step that goes on is over, and not worth a line.
    pub(crate) fn over(&mut self) {
        self.clear();
        self.current = None;
    }

    /// The step that goes on has failed.
    pub(crate) fn failed(&mut self) {
        self.clear();
        if let (Some((title, _)), false) = (self.current.take(), self.quiet) {
            say(&format!("  {} {title}\n", red("✗")));
        }
    }

    /// A line that stays.
    pub(crate) fn note(&mut self, text: &str) {
        if self.quiet {
            return;
        }
        let line = format!("    {}", dim(text));
        match &self.bar {
            Some(bar) => bar.suspend(|| say(&line)),
            None => say(&line),
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

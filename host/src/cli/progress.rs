//! The progress bar: on a terminal only, and gone when the run is over.

use super::table::thousands;
use crate::runtime::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A bar that follows a run until it is dropped.
#[derive(Debug)]
pub struct Bar {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bar {
    /// Follows `progress`; `rows` is how much there is to read, if that is known. Off a terminal it does nothing.
    pub fn follow(progress: Arc<Progress>, rows: Option<u64>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        if !std::io::stderr().is_terminal() {
            return Self { over, thread: None };
        }
        let seen = Arc::clone(&over);
        let draw = move || {
            let bar = rows.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            let template = match rows {
                Some(_) => "{bar:30} {human_pos} of {human_len} rows read, {msg}",
                None => "{spinner} {human_pos} rows read, {msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            while !seen.load(Ordering::Relaxed) {
                bar.set_position(progress.read());
                let (rate, written) = (thousands(bar.per_sec() as u64), thousands(progress.written()));
                bar.set_message(format!("{rate} rows/s, {written} written"));
                std::thread::sleep(Duration::from_millis(100));
            }
            bar.finish_and_clear();
        };
        // without a thread there is no bar: the run matters more
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(draw).ok();
        Self { over, thread }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // a bar that panicked is no reason to fail
            let _ = thread.join();
        }
    }
}

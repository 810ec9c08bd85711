//! Whether somebody still reads what this program prints: a command without an end of its own ends with its reader.

use std::os::fd::AsFd as _;
use std::time::Duration;
use thalweg_core::error::Result;
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;
use tokio::runtime::Runtime;

/// Whoever reads the standard output.
pub struct Listener {
    runtime: Runtime,
    /// Nothing for a file, which nobody can leave.
    pipe: Option<Sender>,
}

impl Listener {
    /// Looks who it is.
    ///
    /// # Errors
    /// `THREAD_START` when the system does not let it.
    pub fn new() -> Result<Self> {
        let runtime = super::waiting()?;
        let pipe = {
            let _here = runtime.enter();
            // Looked at and never written to, so it may stay as it is: a pipe that does not block would lose what is printed.
            let copy = std::io::stdout().as_fd().try_clone_to_owned();
            copy.and_then(Sender::from_owned_fd_unchecked).ok()
        };
        Ok(Self { runtime, pipe })
    }

    /// Waits for so long, or until nobody reads any more; gives whether somebody does.
    pub fn stays(&self, time: Duration) -> bool {
        self.runtime.block_on(async {
            let wait = tokio::time::sleep(time);
            let Some(pipe) = &self.pipe else {
                wait.await;
                return true;
            };
            tokio::select! {
                () = wait => true,
                gone = pipe.ready(Interest::ERROR) => gone.is_err(),
            }
        })
    }
}

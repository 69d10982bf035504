//! Runtimes. A driver brings requests to the shard of its thread and takes the answers away.

#[cfg(feature = "glommio")]
mod on_glommio;
#[cfg(feature = "may")]
mod on_may;
mod on_monoio;
#[cfg(test)]
mod tests;

use std::io;

use anyhow::Result;
use foundation::config::Runtime;

use crate::thread::CoreThread;

/// Runs a core thread until it is stopped and drained.
pub(crate) type Run = fn(CoreThread) -> io::Result<()>;

/// The driver on `runtime`.
///
/// # Errors
/// If this build has none.
pub(crate) fn on(runtime: Runtime) -> Result<Run> {
    match runtime {
        Runtime::Monoio => Ok(on_monoio::run),
        #[cfg(feature = "glommio")]
        Runtime::Glommio => Ok(on_glommio::run),
        #[cfg(feature = "may")]
        Runtime::May => Ok(on_may::run),
        #[cfg(not(all(feature = "glommio", feature = "may")))]
        _ => {
            let name = runtime.as_str();
            anyhow::bail!("gateway.runtime: this build has no {name}; build it with --features {name}")
        }
    }
}

//! Logs: to stderr, and where a directory is set into files of a day and a size.

mod files;
mod quiet;
mod streak;

use std::io::IsTerminal;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::{Layer, Registry, filter::Targets, fmt, layer::SubscriberExt, reload};

pub use self::{quiet::Quiet, streak::FailureStreak};

use self::files::LogFiles;

use crate::config::{LogConfig, LogFormat};

/// Why logs can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter directives make no sense.
    #[error("log.level: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// The files can't be written.
    #[error("log.directory {directory}: {error}")]
    Directory {
        /// As configured.
        directory: String,
        /// Why not.
        error: std::io::Error,
    },
    /// The level can't be changed any more.
    #[error("log.level: {0}")]
    Reload(#[from] reload::Error),
    /// Logs are open already.
    #[error("logs are open already")]
    Open(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Keeps the log files written; what is buffered is written when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the log files"]
pub struct LogGuard {
    _file: Option<WorkerGuard>,
    level: LevelHandle,
}

/// Changes what is logged while the process runs.
#[derive(Debug, Clone)]
pub struct LevelHandle(reload::Handle<Targets, Registry>);

impl LogGuard {
    /// What changes the level.
    pub const fn level(&self) -> &LevelHandle {
        &self.level
    }
}

impl LevelHandle {
    /// Logs what `directives` let through from now on.
    ///
    /// # Errors
    /// If they make no sense.
    pub fn set(&self, directives: &str) -> Result<(), LogsError> {
        Ok(self.0.reload(directives.parse::<Targets>()?)?)
    }
}

/// Opens the logs of this process.
///
/// # Errors
/// If the files can't be written, or logs are open already.
pub fn init(config: &LogConfig) -> Result<LogGuard, LogsError> {
    let (filter, handle) = reload::Layer::new(config.level.parse::<Targets>()?);
    let mut layers = vec![layer(config.format, std::io::stderr, std::io::stderr().is_terminal())];
    let mut guard = None;
    if let Some(directory) = &config.directory {
        let files = LogFiles::open(config, directory)
            .map_err(|error| LogsError::Directory { directory: directory.display().to_string(), error })?;
        let (writer, worker) = tracing_appender::non_blocking(files);
        layers.push(layer(config.format, writer, false));
        guard = Some(worker);
    }
    // The filter is next to the registry, so that it decides for all layers.
    tracing::subscriber::set_global_default(Registry::default().with(filter).with(layers))?;
    Ok(LogGuard { _file: guard, level: LevelHandle(handle) })
}

type Filtered = tracing_subscriber::layer::Layered<reload::Layer<Targets, Registry>, Registry>;

fn layer<W>(format: LogFormat, writer: W, colours: bool) -> Box<dyn Layer<Filtered> + Send + Sync>
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        LogFormat::Pretty => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

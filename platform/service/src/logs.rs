//! Logs: to stderr, and where a directory is set into a file a day.

use std::io::IsTerminal;

use tracing_appender::{
    non_blocking::WorkerGuard,
    rolling::{RollingFileAppender, Rotation},
};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer::SubscriberExt};

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
        error: tracing_appender::rolling::InitError,
    },
    /// Logs are open already.
    #[error("logs are open already")]
    Open(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Keeps the log files written; what is buffered is written when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the log files"]
pub struct LogGuard {
    _file: Option<WorkerGuard>,
}

/// Opens the logs of this process.
///
/// # Errors
/// Where the files can't be written, or logs are open already.
pub fn init(config: &LogConfig) -> Result<LogGuard, LogsError> {
    let filter = EnvFilter::try_new(&config.level)?;
    let mut layers = vec![layer(config.format, std::io::stderr, std::io::stderr().is_terminal())];
    let mut guard = None;
    if let Some(directory) = &config.directory {
        let appender = RollingFileAppender::builder()
            .rotation(Rotation::DAILY)
            .filename_prefix("mall")
            .filename_suffix("log")
            .max_log_files(config.keep_days.get())
            .build(directory)
            .map_err(|error| LogsError::Directory { directory: directory.display().to_string(), error })?;
        let (writer, worker) = tracing_appender::non_blocking(appender);
        layers.push(layer(config.format, writer, false));
        guard = Some(worker);
    }
    tracing::subscriber::set_global_default(Registry::default().with(layers).with(filter))?;
    Ok(LogGuard { _file: guard })
}

fn layer<W>(format: LogFormat, writer: W, colours: bool) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        LogFormat::Pretty => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

//! SIGHUP reads the settings again and changes the log level; every other setting needs a restart.

use foundation::{
    Config,
    config::{self, Args},
    logs::LevelHandle,
};
use tokio::signal::unix::{SignalKind, signal};

/// Obeys SIGHUP until the process ends.
pub(crate) fn on_signal(args: Args, mut current: Config, level: LevelHandle) -> std::io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            match config::read(args.clone()) {
                Ok(read) => apply(read, &mut current, &level),
                Err(faults) => {
                    let faults = faults.to_string();
                    tracing::error!(faults, "SIGHUP: the settings are wrong; nothing is changed");
                }
            }
        }
    });
    Ok(())
}

fn apply(read: Config, current: &mut Config, level: &LevelHandle) {
    let others_differ = {
        let mut other = read.clone();
        other.log.level.clone_from(&current.log.level);
        other.warnings.clone_from(&current.warnings);
        // The level in its words; a setting that counts is compared by its own field.
        other.shown.clone_from(&current.shown);
        other != *current
    };
    if others_differ {
        tracing::warn!("SIGHUP: settings other than log.level have changed; they need a restart");
    }
    if read.log.level == current.log.level {
        tracing::warn!("SIGHUP: log.level is {}, as before", current.log.level);
        return;
    }
    match level.set(&read.log.level) {
        Ok(()) => {
            current.log.level = read.log.level;
            tracing::warn!("SIGHUP: log.level is now {}", current.log.level);
        }
        Err(error) => tracing::error!(%error, "SIGHUP: log.level stays as it was"),
    }
}

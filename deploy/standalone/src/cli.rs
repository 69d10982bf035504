//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::role::Role;

/// A mall with flash sales. Without a command, or with `run`, the whole of it in one process.
///
/// Settings come from a YAML file and from the environment; the environment wins. The key `a.b` is the variable
/// MALL_A__B.
#[derive(Debug, PartialEq, Eq, Parser)]
#[command(name = "mall", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct SettingsArgs {
    /// Settings file in YAML [default: the one that MALL_CONFIG names, or none]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What the gateway's threads run on: monoio, glommio or may [default: the setting gateway.runtime]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) runtime: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Run the whole mall in one process (the default)
    Run,
    /// Run a gateway of its own; needs Redis and Kafka
    Gateway,
    /// Run order-core of its own; needs Redis, Kafka and a database server
    OrderCore,
    /// Run admin of its own; needs Redis, Kafka and a database server
    Admin,
    /// Bring the database's schema up to date and exit
    Migrate,
    /// Copy the data directory of an embedded mall, which may run meanwhile
    Backup {
        /// Where to; it must not exist
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Check the settings and exit: 0 if they are valid, 1 with every fault if not
    CheckConfig,
    /// Set an admin's password, read from standard input
    AdminPassword {
        /// The admin's user name
        #[arg(long, value_name = "NAME", default_value = "admin")]
        username: String,
    },
    /// Compare or rebuild the search index of a mall that runs on the same settings
    ///
    /// The running mall does the work, unless search index, database and log are all on servers: then this command does it, with
    /// the settings of order-core.
    Search {
        /// What to do
        #[command(subcommand)]
        command: SearchCommand,
    },
    /// Write the files of the shop's pages, for nginx
    ShopAssets {
        /// Where to
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// What is done with the search index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum SearchCommand {
    /// Compare every product of the index with the database; exit 1 and name the first that differ
    Verify,
    /// Build a second index from the database and put it in the place of the first one, which is searched until then
    ///
    /// In the data directory the running mall finishes a rebuild that has begun, even if this command is interrupted.
    Rebuild {
        /// Compare every product of the second index with the database before it is put in place; exit 1 if one differs
        #[arg(long)]
        verify: bool,
    },
}

impl Cli {
    pub(crate) fn chosen(&self) -> Command {
        self.command.clone().unwrap_or(Command::Run)
    }
}

impl Command {
    /// The service that runs in a process of its own.
    pub(crate) const fn role(&self) -> Option<Role> {
        match self {
            Self::Gateway => Some(Role::Gateway),
            Self::OrderCore => Some(Role::OrderCore),
            Self::Admin => Some(Role::Admin),
            Self::Run
            | Self::Migrate
            | Self::Backup { .. }
            | Self::CheckConfig
            | Self::AdminPassword { .. }
            | Self::Search { .. }
            | Self::ShopAssets { .. }
            | Self::Completions { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_and_settings_come_in_any_order() {
        let check = |line: &str, command: Command, config: Option<&str>, runtime: Option<&str>| {
            let cli = parsed(line).unwrap();
            assert_eq!(cli.chosen(), command, "{line}");
            assert_eq!(cli.settings.config, config.map(PathBuf::from), "{line}");
            assert_eq!(cli.settings.runtime.as_deref(), runtime, "{line}");
        };
        check("mall", Command::Run, None, None);
        check("mall run --config a.yaml", Command::Run, Some("a.yaml"), None);
        check("mall --config=a=b.yaml gateway", Command::Gateway, Some("a=b.yaml"), None);
        check("mall gateway --runtime may", Command::Gateway, None, Some("may"));
        check("mall order-core", Command::OrderCore, None, None);
        check("mall check-config --config a", Command::CheckConfig, Some("a"), None);
        let command = Command::Search { command: SearchCommand::Rebuild { verify: true } };
        check("mall search rebuild --verify --config a", command, Some("a"), None);
        check("mall search verify", Command::Search { command: SearchCommand::Verify }, None, None);
        let command = Command::AdminPassword { username: "ada".to_owned() };
        check("mall admin-password --username ada", command, None, None);
    }

    #[test]
    fn what_is_unknown_exits_with_2() {
        for line in
            ["mall serve", "mall --confg a", "mall --config", "mall gateway now", "mall --runtime", "mall search"]
        {
            let fault = parsed(line).unwrap_err();
            assert_eq!(fault.exit_code(), 2, "{line}: {fault}");
        }
        for line in ["mall --help", "mall --version", "mall gateway --help"] {
            assert_eq!(parsed(line).unwrap_err().exit_code(), 0, "{line}");
        }
    }
}

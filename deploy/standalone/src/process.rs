//! What a service asks of the system before it starts: files that only its user reads, and as many open files as it may have.

use std::num::NonZeroUsize;

use foundation::{Config, config::Runtime};
use rustix::{
    fs::Mode,
    process::{Resource, Rlimit, getrlimit, setrlimit, umask},
};

use crate::role::Role;

/// Open files that are no connections of clients: databases, log, search index, connections to servers, the runtimes' own.
const OTHER_FILES: usize = 192;
/// Connections that a service takes for health beyond its cap, and some that wait to be closed.
const SPARE_CONNECTIONS: usize = 32;
/// A cap is never made smaller than this.
const CONNECTIONS_MIN: usize = 16;

/// Files that are made from now on can be read by this user only.
pub(crate) fn keep_files_private() {
    umask(Mode::RWXG | Mode::RWXO);
}

/// Raises the soft limit of open files to the hard one, and returns it; `None` if the number is unlimited.
pub(crate) fn raise_open_files() -> Option<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let limit = match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            eprintln!("mall: the limit of open files can't be raised: {error}");
            current
        }
    };
    limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Reduces the caps of connections of the services that `role` runs, so that all of them fit under `files`. Returns a
/// warning if it had to.
pub(crate) fn fit_connections(config: &mut Config, role: Option<Role>, files: usize) -> Option<String> {
    // may_minihttp has two files for each connection.
    let each = if config.gateway.runtime == Runtime::May { 2 } else { 1 };
    let runs = |one: Role| role.is_none_or(|role| role == one);
    let gateway = runs(Role::Gateway).then_some((&mut config.gateway.connections_max, each));
    let order_core = runs(Role::OrderCore).then_some((&mut config.order_core.connections_max, 1));
    let admin = runs(Role::Admin).then_some((&mut config.admin.connections_max, 1));
    let mut caps: Vec<(&mut NonZeroUsize, usize)> = [gateway, order_core, admin].into_iter().flatten().collect();
    let room = files.saturating_sub(OTHER_FILES + SPARE_CONNECTIONS * caps.len());
    let wanted: usize = caps.iter().map(|(cap, each)| cap.get().saturating_mul(*each)).sum();
    if wanted <= room {
        return None;
    }
    for (cap, _) in &mut caps {
        // Each keeps its share; u128 because both factors come from the settings.
        let share = cap.get() as u128 * room as u128 / wanted as u128;
        let share = usize::try_from(share).unwrap_or(usize::MAX).max(CONNECTIONS_MIN);
        **cap = NonZeroUsize::new(share).unwrap_or(NonZeroUsize::MIN);
    }
    Some(format!(
        "the caps of connections need {wanted} open files, and there is room for {room} of {files}: they are reduced in \
         proportion; raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of docker)"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

    use super::*;

    fn config(env: &[(&str, &str)]) -> Config {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        foundation::config::load(None, env).unwrap()
    }

    fn caps(config: &Config) -> [usize; 3] {
        [config.gateway.connections_max, config.order_core.connections_max, config.admin.connections_max]
            .map(NonZeroUsize::get)
    }

    #[test]
    fn caps_fit_under_the_limit_of_open_files() {
        let mut plenty = config(&[]);
        assert_eq!(fit_connections(&mut plenty, None, 65_536), None);
        assert_eq!(caps(&plenty), [20_000, 1_024, 1_024]);
        for (runtime, each) in [("monoio", 1), ("may", 2)] {
            let mut few = config(&[("MALL_GATEWAY__RUNTIME", runtime)]);
            let warning = fit_connections(&mut few, None, 1_024).unwrap();
            assert!(warning.contains("1024"), "{warning}");
            let [gateway, order_core, admin] = caps(&few);
            assert!(
                gateway * each + order_core + admin <= 1_024 - OTHER_FILES,
                "{runtime}: {gateway} {order_core} {admin}"
            );
            assert!(gateway > 300 && order_core >= CONNECTIONS_MIN && admin >= CONNECTIONS_MIN);
        }
    }

    #[test]
    fn a_service_of_its_own_has_all_of_them() {
        let mut config = config(&[]);
        assert!(fit_connections(&mut config, Some(Role::OrderCore), 1_024).is_some());
        assert_eq!(caps(&config), [20_000, 1_024 - OTHER_FILES - SPARE_CONNECTIONS, 1_024]);
    }
}

//! The units.

use super::{Files, Program, Variables, compose::FINISH_S};

const FOLDER: &str = "deploy/systemd";
/// The default of `shutdown.drain_ms` where other hosts can connect.
const DRAIN_S: u64 = 5;

pub(super) fn compare(files: &Files, program: &Program, faults: &mut Vec<String>) {
    for path in Files::list(FOLDER) {
        let text = files.text(&path);
        let values = |key: &str| {
            let prefix = format!("{key}=");
            text.lines().filter_map(move |line| line.strip_prefix(prefix.as_str())).collect::<Vec<_>>()
        };
        let credentials: Vec<&str> = values("LoadCredential").iter().filter_map(|one| one.split(':').next()).collect();
        let pairs = values("Environment");
        let pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
        let variables: Variables =
            pairs.map(|(name, value)| (name.to_owned(), value.replace("%S", "/var/lib"))).collect();
        let find = |value: &str| value.strip_prefix("%d/").map(str::to_owned);
        let named = variables.values().filter_map(|value| find(value));
        for missing in named.filter(|name| !credentials.contains(&name.as_str())) {
            faults.push(format!("{path}: the credential {missing} is not loaded"));
        }
        let started = values("ExecStart");
        let words: Vec<&str> = started.iter().flat_map(|line| line.split(' ')).collect();
        // The secrets that stand for /etc/mall are those of Compose, whose servers are on other hosts.
        let mut with_servers = variables.clone();
        with_servers.insert("MALL_REDIS__ALLOW_PLAINTEXT".to_owned(), "true".to_owned());
        program.compare(&path, (&words[1..], &with_servers), find, faults);
        let stop_s: u64 = values("TimeoutStopSec").iter().find_map(|value| value.parse().ok()).unwrap_or(0);
        if stop_s < DRAIN_S + FINISH_S {
            faults.push(format!("{path}: the process is killed before it has finished"));
        }
        let directory = values("StateDirectory").join(" ");
        if variables.get("MALL_DATA_DIR") != Some(&format!("/var/lib/{directory}")) {
            faults.push(format!("{path}: MALL_DATA_DIR is not the state directory"));
        }
    }
}

//! What is printed once the mall is ready: where it is, how to get in, what to try.

use std::{
    io::{IsTerminal as _, Write as _},
    net::SocketAddr,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use contract::{ActivityId, UserId, token::TokenKey};
use foundation::data_dir::{ADMIN_PASSWORD_FILE, Secrets};

/// How long the token of the printed example is good.
const EXAMPLE_TOKEN_S: u64 = 24 * 3600;

/// Where the parts listen.
pub(crate) struct Places {
    pub(crate) shop: String,
    pub(crate) gateway: SocketAddr,
    pub(crate) order_core: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// Prints where one service listens.
pub(crate) fn say(service: &str, address: SocketAddr) {
    drop(writeln!(std::io::stdout(), "{service}: http://{address}"));
}

/// Prints to standard output; a closed one stops nothing. A password and a token are shown on a terminal only: what else
/// standard output is, such as the log of a container, keeps them for all who read it.
pub(crate) fn print(places: &Places, secrets: &Secrets, data: &Path, key: &TokenKey, demo: Option<ActivityId>) {
    let Places { shop, gateway, order_core, admin } = places;
    let is_terminal = std::io::stdout().is_terminal();
    let mut text = format!(
        "\nThe mall is ready.\n  shop        {shop}\n  gateway     http://{gateway}\n  order-core  http://{order_core}\n  admin       http://{admin}\n"
    );
    if secrets.admin_password_is_new {
        let password = if is_terminal {
            secrets.admin_password.expose().to_owned()
        } else {
            format!("in {}", data.join(ADMIN_PASSWORD_FILE).display())
        };
        text.push_str(&format!("\nFirst admin: user admin, password {password}\n"));
    }
    text.push_str(&format!("\nTry:\n  curl http://{gateway}/api/v1/seckill/activities\n"));
    if let (Some(demo), Some(user), true) = (demo, UserId::from_i64(1), is_terminal) {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let token = key.sign(user, None, now_s, EXAMPLE_TOKEN_S);
        text.push_str(&format!(
            "  curl -X POST http://{gateway}/api/v1/seckill/orders -H 'Authorization: Bearer {token}' \
             -H 'Content-Type: application/json' -d '{{\"activity_id\":\"{demo}\",\"quantity\":1}}'\n  \
             curl http://{order_core}/api/v1/orders -H 'Authorization: Bearer {token}'\n"
        ));
    }
    drop(std::io::stdout().write_all(text.as_bytes()));
}

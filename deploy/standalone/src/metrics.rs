//! Where this process serves its metrics.

use std::net::{Ipv4Addr, SocketAddr};

use foundation::config::MetricsListen;
use web::serve_metrics;

use crate::{ground::Ground, role::Role};

/// The ports on loopback where the settings name none. Services of their own on one host have different ones.
const PORT: u16 = 9464;
const ORDER_CORE_PORT: u16 = 9465;
const ADMIN_PORT: u16 = 9466;

/// Serves the metrics of `ground` until the process ends, also while it drains.
pub(crate) fn serve(ground: &Ground, role: Option<Role>) {
    let port = match role {
        None | Some(Role::Gateway) => PORT,
        Some(Role::OrderCore) => ORDER_CORE_PORT,
        Some(Role::Admin) => ADMIN_PORT,
    };
    let service = role.map_or("mall", Role::as_str);
    let build = format!("mall_build_info{{service=\"{service}\",version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    ground.metrics.gauge(&build, "1; its labels say what runs.").set(1);
    let address = match ground.config.metrics_listen {
        MetricsListen::Default => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        MetricsListen::At(address) => address,
        MetricsListen::Off => return,
    };
    drop(tokio::spawn(serve_metrics(address, ground.metrics.clone())));
}

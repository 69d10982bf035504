//! `make sale` through nginx.

use std::{path::Path, process::Command};

use services::Listen;

use super::start_before;
use crate::process::{ADMIN_PASSWORD, Mall, SHOPPER_SECRET};

#[test]
fn a_sale_of_the_bench_through_nginx_ends_exact() {
    // Cargo builds it next to the mall for its own tests.
    let bench = Path::new(env!("CARGO_BIN_EXE_mall")).with_file_name("bench");
    if !bench.exists() {
        services::skipped("bench", "it was not built; test the whole workspace");
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    let Some(front) = start_before(&[&mall.gateway], &mall, "limits-off.conf", Listen::Plain) else { return };
    let output = Command::new(bench)
        .args(["sale", "--stock", "500", "--users", "4000", "--connections", "32"])
        .args(["--front", &format!("http://{}", front.address()), "--gateway", &mall.gateway])
        .args(["--order-core", &mall.order_core, "--admin", &mall.admin])
        .args(["--shopper-secret", SHOPPER_SECRET, "--admin-password", ADMIN_PASSWORD])
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    for check in ["I1 PASS", "I2 PASS", "I3 PASS"] {
        assert!(said.contains(check), "no {check} in:\n{said}");
    }
    // The buyers' requests went this way; nginx writes its log within a second.
    let asked = || front.requests().lines().filter(|line| line.contains(r#""uri":"/api/v1/seckill/orders""#)).count();
    crate::process::until("nginx has seen all of it", || asked() >= 4000);
}

//! `mall search` on a mall that runs: what it finds, and what it says where it can't work.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;
use tokio::runtime::Runtime;

use crate::process::{Mall, Shop, command, get, until};

/// Runs `mall search` with `args`; its exit code and all that it wrote.
fn search(data: &Path, args: &[&str]) -> (i32, String) {
    ended(command(data, &[]), args)
}

pub(crate) fn ended(mut command: Command, args: &[&str]) -> (i32, String) {
    let output = command.arg("search").args(args).stderr(Stdio::piped()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
}

fn is((code, text): (i32, String), expect: i32, part: &str) {
    assert!(code == expect && text.contains(part), "exit {code}: {text}");
}

/// A category of products of one SKU that are on the shelf; the products' and SKUs' ids.
pub(crate) fn stocked(shop: &Shop, products: usize) -> Vec<(String, String)> {
    let category = shop.admin_post("/categories", json!({ "name": "手机" }))["category_id"].clone();
    let token = shop.admin_token();
    let post = |path: &str, body| {
        let url = format!("{}/admin/api/v1{path}", shop.admin);
        let (status, answer) = crate::process::call("POST", &url, Some(&token), &body);
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    };
    let text = |id: &serde_json::Value| id.as_str().unwrap().to_owned();
    let stock = |at| {
        let product = json!({ "title": format!("旗舰手机 {at} 号"), "category_id": category });
        let product = text(&post("/products", product)["product_id"]);
        let sku = json!({ "attributes": { "颜色": "黑" }, "price_cents": 1, "stock": 10 });
        let sku = text(&post(&format!("/products/{product}/skus"), sku)["sku_id"]);
        post(&format!("/products/{product}/shelve"), json!({}));
        (product, sku)
    };
    (0..products).map(stock).collect()
}

/// Changes rows of the database next to the mall, so that no record tells the index of it.
fn plant(data: &Path, sql: &'static str, product: &str) {
    let path = format!("sqlite://{}", data.join("mall.db").display());
    let product: i64 = product.parse().unwrap();
    Runtime::new().unwrap().block_on(async {
        let pool = sqlx::SqlitePool::connect(&path).await.unwrap();
        let changed = sqlx::query(sql).bind(product).execute(&pool).await.unwrap();
        assert_eq!(changed.rows_affected(), 1);
        pool.close().await;
    });
}

fn total(shop: &Shop, words: &str) -> u64 {
    let words: String = words.bytes().map(|byte| format!("%{byte:02X}")).collect();
    get(&format!("{}/api/v1/search?q={words}", shop.order_core), None).1["total"].as_u64().unwrap_or(0)
}

#[test]
fn an_index_is_compared_and_built_again() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    is(search(data, &["verify"]), 1, "mall: no mall runs on the data directory");
    let mall = Mall::start(data, &[]);
    let products = stocked(&mall, 5);
    until("every product is found", || total(&mall, "旗舰手机") >= 5);
    is(search(data, &["verify"]), 0, "the index equals the database: ");
    let mode = std::fs::metadata(data.join("search/socket")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");

    // Another document under the same version, and a version that no record has told of.
    plant(data, "UPDATE products SET title = '旗舰平板' WHERE id = ?", &products[0].0);
    plant(data, "UPDATE products SET search_version = search_version + 1 WHERE id = ?", &products[1].0);
    plant(data, "UPDATE products SET on_shelf = 0 WHERE id = ?", &products[2].0);
    let (code, text) = search(data, &["verify"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("differs from the database in 3 of ") && text.contains(" at offset 0:"), "{text}");
    assert!(text.contains(&format!("{}: version ", products[0].0)) && text.contains("another title"), "{text}");
    assert!(text.contains(&format!("{}: the index has version ", products[1].0)), "{text}");
    assert!(text.contains(&format!("{}: the index has version ", products[2].0)) && text.contains("off the shelf"));
    assert!(!text.contains(&products[3].0), "{text}");

    is(search(data, &["rebuild", "--verify"]), 0, "the new index is in place: ");
    assert_eq!(total(&mall, "旗舰平板"), 1);
    is(search(data, &["verify"]), 0, "the index equals the database: ");
    plant(data, "UPDATE products SET title = '旗舰手表' WHERE id = ?", &products[0].0);
    let (code, text) = search(data, &["rebuild"]);
    assert!(code == 0 && text.contains("is in place") && !text.contains("comparing"), "exit {code}: {text}");
    assert_eq!(total(&mall, "旗舰手表"), 1);
    assert!(mall.stop().success());
    is(search(data, &["rebuild"]), 1, "no mall runs on the data directory");
}

/// The mall runs where no socket can be, and the command says why it can't reach it.
#[test]
fn a_data_directory_may_have_a_path_that_is_too_long_for_a_socket() {
    let temporary = tempfile::tempdir().unwrap();
    let data = temporary.path().join("long".repeat(25));
    let mall = Mall::start(&data, &[]);
    assert_eq!(get(&format!("{}/readyz", mall.order_core), None).0, 200);
    let (code, text) = search(&data, &["verify"]);
    assert!(code == 1 && text.lines().count() == 1, "{text}");
    assert!(text.contains("too many for the path of a socket") && text.contains("data_dir"), "{text}");
}

/// What a killed mall leaves of its socket is no mall.
#[test]
fn a_socket_outlives_its_mall_without_harm() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    mall.kill_now();
    assert!(data.path().join("search/socket").exists());
    let (code, text) = search(data.path(), &["verify"]);
    assert!(code == 1 && text.lines().count() == 1 && text.contains("no mall runs on the data directory"), "{text}");
    let mall = Mall::start(data.path(), &[]);
    is(search(data.path(), &["verify"]), 0, "equals the database");
    drop(mall);
    // Not even somebody who may read the directory gets past the socket's permissions.
    if !is_root() {
        std::fs::set_permissions(data.path().join("search"), std::fs::Permissions::from_mode(0o0)).unwrap();
        let (code, text) = search(data.path(), &["verify"]);
        std::fs::set_permissions(data.path().join("search"), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(code == 1 && text.contains("run this as the user that runs the mall"), "{text}");
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0)
}

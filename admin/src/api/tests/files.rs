//! Files of products and of shipments: the dry run, the import, the export, and files that can't be.

use axum::body::Bytes;
use futures_util::stream;

use super::{pages::Browser, *};

const BOUNDARY: &str = "a-boundary-of-the-test";

fn part(name: &str, file: Option<&str>, value: &[u8]) -> Vec<u8> {
    let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
    let head = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
    [head.as_bytes(), value, b"\r\n"].concat()
}

fn whole(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), format!("--{BOUNDARY}--\r\n").into_bytes()].concat()
}

/// An operator's browser and the value that its forms carry.
struct Sender<'a> {
    browser: Browser<'a>,
    csrf: String,
}

impl<'a> Sender<'a> {
    async fn new(app: &'a TestApp) -> Self {
        let mut browser = Browser::new(app);
        browser.sign_in("admin", PASSWORD).await;
        let csrf = browser.csrf().await;
        Self { browser, csrf }
    }

    async fn check(&self, path: &str, file: &[u8]) -> (StatusCode, String) {
        self.post(
            path,
            Body::from(whole(&[part("csrf", None, self.csrf.as_bytes()), part("file", Some("a.csv"), file)])),
        )
        .await
    }

    /// Sends the text that a dry run has given back.
    async fn carry_out(&self, path: &str, checked: &str) -> (StatusCode, String) {
        let text = checked.split("<textarea name=\"csv\"").nth(1).expect("the dry run has rows to import");
        let text = text.split_once('>').unwrap().1.split("</textarea>").next().unwrap();
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
        let parts = [
            part("csrf", None, self.csrf.as_bytes()),
            part("do", None, b"carry_out"),
            part("csv", None, text.trim_start_matches('\n').replace('\n', "\r\n").as_bytes()),
        ];
        self.post(path, Body::from(whole(&parts))).await
    }

    async fn post(&self, path: &str, body: Body) -> (StatusCode, String) {
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let page = self.browser.send("POST", path, &[("content-type", &kind)], body).await;
        (page.status, page.body)
    }
}

/// The number in one of the three figures of a report.
fn figure(page: &str, name: &str) -> usize {
    let text = page.split(&format!("id=\"rows-{name}\">")).nth(1).unwrap_or_else(|| panic!("no figure {name}: {page}"));
    text.split('<').next().unwrap().parse().unwrap()
}

fn figures(page: &str) -> [usize; 3] {
    ["good", "same", "wrong"].map(|name| figure(page, name))
}

const PRODUCTS: &str = "/admin/products/import";

#[tokio::test]
async fn products_are_imported_after_a_dry_run_and_only_once() {
    let app = TestApp::new().await;
    app.make("/categories", json!({ "name": "水壶 / Kettles" })).await;
    let sender = Sender::new(&app).await;
    let mut file = "分类,名称,属性,价格,库存,上架\n".to_owned();
    for number in 1..=200 {
        let (product, price) = (number / 2, if number == 77 { "=1+1" } else { "199.50" });
        let category = if number == 150 { "Nothing" } else { "水壶 / Kettles" };
        file.push_str(&format!("{category},水壶 {product},颜色: {number},{price},5,是\n"));
    }
    let (gbk, _, is_lossy) = encoding_rs::GBK.encode(&file);
    assert!(!is_lossy);
    let (status, checked) = sender.check(PRODUCTS, &gbk).await;
    assert_eq!((status, figures(&checked)), (StatusCode::OK, [198, 0, 2]), "{checked}");
    for reason in ["price: an amount such as 199.00", "There is no such category: Nothing"] {
        assert!(checked.contains(reason), "{reason}");
    }
    let count = async || app.store.catalogue().product_count().await.unwrap();
    assert_eq!(count().await, 0, "a dry run changes nothing");
    let (status, done) = sender.carry_out(PRODUCTS, &checked).await;
    assert_eq!((status, figures(&done)), (StatusCode::OK, [198, 0, 2]), "{done}");
    assert_eq!(count().await, 101);
    let (_, again) = sender.carry_out(PRODUCTS, &checked).await;
    assert_eq!((figures(&again), count().await), ([0, 198, 2], 101), "the same file once more");

    let changed = "category,title,subtitle,attributes,price\n水壶 / Kettles,水壶 1,=new,颜色: 2,\"1,000\"\n";
    let (_, checked) = sender.check(PRODUCTS, changed.as_bytes()).await;
    assert!(checked.contains("Changes subtitle, price"), "{checked}");
    sender.carry_out(PRODUCTS, &checked).await;
    let (_, found) = app.get("/products?limit=100").await;
    let product = found["items"].as_array().unwrap().iter().find(|product| product["title"] == "水壶 1").unwrap();
    assert_eq!((&product["subtitle"], &product["on_shelf"]), (&json!("=new"), &json!(true)));

    // An export runs no formula, and importing it changes nothing.
    let export = sender.browser.ask("GET", "/admin/products/export?q=%E6%B0%B4%E5%A3%B6%201", &[]).await;
    assert!(export.headers[header::CONTENT_DISPOSITION].to_str().unwrap().starts_with("attachment"));
    assert!(export.body.contains(",'=new,") && !export.body.contains(",=new"), "{}", export.body);
    let (_, checked) = sender.check(PRODUCTS, export.body.as_bytes()).await;
    let [good, same, wrong] = figures(&checked);
    assert_eq!((good, wrong), (0, 0), "{checked}");
    assert!(same > 20);
}

#[tokio::test]
async fn a_file_that_can_not_be_is_refused_with_its_reason() {
    let app = TestApp::new().await;
    app.make("/categories", json!({ "name": "Kettles" })).await;
    let sender = Sender::new(&app).await;
    let header = "category,title,attributes,price,stock\n";
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    for (file, reason) in [
        ("", "The file is empty"),
        ("category,title\nKettles,x\n", "lacks these columns: attributes, price"),
        ("title,title,category,attributes,price\n", "two columns of this name: title"),
        (header, "a header and no row"),
        (
            &format!("{header}Kettles,\"x,A: b,1,1\nKettles,y,A: b,1,1\n"),
            "The quote that opens on line 2 is never closed",
        ),
        (&format!("{header}{}", "Kettles,x,A: b,1,1\n".repeat(1_001)), "more than 1000 rows"),
        ("PK\u{3}\u{4}", "The file is no text"),
    ] {
        let (status, page) = sender.check(PRODUCTS, file.as_bytes()).await;
        assert_eq!(status, unprocessable, "{reason}");
        assert!(page.contains(reason), "{reason}: {page}");
    }
    let rows = [
        ("Kettles,\"x\"y,A: b,1,1", "A quote is missing"),
        ("Kettles,x,A: b,1", "4 cells instead of 5"),
        ("Kettles,,A: b,1,1", "title: it is needed"),
        ("Kettles,x,nothing,1,1", "attributes: it is written"),
        ("Kettles,x,A: c,1,", "stock: it is needed"),
        ("Kettles,x,A: d,-1,1", "price: an amount"),
        ("Kettles,x,A: e,1,1.5", "stock: a whole number"),
        ("Kettles,z,A: b,1,1", "Rows to import"),
        ("Kettles,z,A: b,2,2", "The same as line 9"),
    ];
    let file = rows.iter().fold(header.to_owned(), |file, (row, _)| file + row + "\n");
    let (status, page) = sender.check(PRODUCTS, file.as_bytes()).await;
    assert_eq!((status, figures(&page)), (StatusCode::OK, [1, 0, 8]), "{page}");
    for (row, reason) in rows {
        assert!(page.contains(reason), "{row}: {reason}: {page}");
    }
    let (status, _) = sender.post(PRODUCTS, Body::from(whole(&[part("csrf", None, b"forged")]))).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn fifty_megabytes_are_refused_with_an_answer() {
    const MEGABYTE: usize = 1_000_000;
    let app = TestApp::new().await;
    let sender = Sender::new(&app).await;
    let csrf = part("csrf", None, sender.csrf.as_bytes());
    let head = part("file", Some("big.csv"), b"category,title,attributes,price\n");
    let megabyte = Bytes::from(vec![b'x'; MEGABYTE]);
    let chunks = (0..50).map(move |_| megabyte.clone());
    let chunks = [Bytes::from(csrf), Bytes::from(head)].into_iter().chain(chunks);
    let end = Bytes::from(format!("\r\n--{BOUNDARY}--\r\n"));
    let body = Body::from_stream(stream::iter(chunks.chain([end]).map(Ok::<_, std::io::Error>)));
    let (status, page) = sender.post(PRODUCTS, body).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(page.contains("longer than 2 MiB"), "{page}");
}

#[tokio::test]
async fn parcels_of_many_orders_are_entered_from_a_file() {
    const ORDERS: &str = "/admin/orders/import";
    let app = TestApp::new().await;
    let (_, order) = paid_order(&app).await;
    let sender = Sender::new(&app).await;
    let export = sender.browser.ask("GET", "/admin/orders/export?status=paid", &[]).await;
    let empty = format!("\r\n'{order},,,paid,");
    assert!(export.body.contains(&empty), "{}", export.body);
    let filled = export.body.replace(&empty, &format!("\r\n'{order},顺丰,'00123,paid,"));
    let more = "77,顺丰,SF2\n1.8E+17,顺丰,SF3\n,顺丰,SF4\n";
    let filled = filled + &more.replace('\n', ",,,,,,,,\r\n");
    let (status, checked) = sender.check(ORDERS, filled.as_bytes()).await;
    assert_eq!((status, figures(&checked)), (StatusCode::OK, [1, 0, 3]), "{checked}");
    for reason in ["There is no such order", "a spreadsheet has rounded the number"] {
        assert!(checked.contains(reason), "{reason}");
    }
    let path = format!("/orders/{order}");
    assert_eq!(app.get(&path).await.1["status"], "paid", "a dry run sends nothing");
    sender.carry_out(ORDERS, &checked).await;
    let (_, sent) = app.get(&path).await;
    assert_eq!((&sent["status"], &sent["shipment"]["tracking_no"]), (&json!("shipped"), &json!("00123")));
    let (_, again) = sender.carry_out(ORDERS, &checked).await;
    assert_eq!(figures(&again), [0, 1, 3], "{again}");
    let other = format!("order_id,carrier,tracking_no\n{order},EMS,9\n");
    let (_, page) = sender.check(ORDERS, other.as_bytes()).await;
    assert!(
        page.contains("can&#39;t be shipped, it is shipped") || page.contains("can't be shipped, it is shipped"),
        "{page}"
    );
}

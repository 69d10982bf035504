use super::*;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x02\x08\x06\0\0\0\0\0\0\0\0\0\0\0IEND\xaeB`\x82";

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = PNG.to_vec();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    bytes
}

/// A field of a form, with the boundary before it.
fn field(name: &str, filename: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{filename}\"\r\n\r\n");
    [head.as_bytes(), bytes, b"\r\n"].concat()
}

fn form(bytes: &[u8]) -> Vec<u8> {
    [field("file", "../../../etc/passwd.png", bytes), b"--b--\r\n".to_vec()].concat()
}

impl TestApp {
    async fn upload(&self, kind: &str, key: Option<&str>, body: Vec<u8>) -> (StatusCode, Value) {
        let mut request = Request::post("/admin/api/v1/images").header(header::CONTENT_TYPE, kind);
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", token("operator")));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    fn pictures(&self) -> usize {
        let pictures = std::fs::read_dir(self.directory.path().join("images")).into_iter().flatten();
        pictures.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_file()).count()
    }
}

const FORM: &str = "multipart/form-data; boundary=b";

#[tokio::test]
async fn pictures_are_added_once() {
    let app = TestApp::new().await;
    let (status, added) = app.upload(FORM, Some("k"), form(PNG)).await;
    let id = added["image_id"].as_str().unwrap().to_owned();
    assert_eq!((status, &added["url"]), (StatusCode::CREATED, &json!(format!("http://shop/images/{id}"))));
    assert_eq!(std::fs::read(app.directory.path().join("images").join(&id)).unwrap(), PNG);
    assert_eq!(app.upload(FORM, Some("k"), form(PNG)).await, (StatusCode::CREATED, added));
    assert_eq!(app.upload(FORM, Some("k"), form(&png(3, 3))).await.1["code"], "idempotency_key_reused");
    assert_eq!(app.pictures(), 1);

    let (_, category) = app.send("POST", "/categories", &[], &json!({ "name": "手机" }).to_string()).await;
    let product =
        |ids: Value| json!({ "title": "p", "category_id": category["category_id"], "image_ids": ids }).to_string();
    let other = "0123456789abcdef0123456789abcdef.png";
    for ids in [json!([other]), json!([id, other]), json!(["../mall.db"]), json!([""]), json!(vec![id.as_str(); 21])] {
        assert_eq!(app.send("POST", "/products", &[], &product(ids)).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let (status, made) = app.send("POST", "/products", &[], &product(json!([id]))).await;
    assert_eq!((status, &made["image_ids"]), (StatusCode::CREATED, &json!([id])));
    let path = format!("/products/{}", made["product_id"].as_str().unwrap());
    let patch = async |version: &str, ids: Value| {
        app.send("PATCH", &path, &[("if-match", version)], &json!({ "image_ids": ids }).to_string()).await
    };
    assert_eq!(patch("1", json!([other])).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(patch("1", json!([])).await.1["image_ids"], json!([]));
    assert_eq!(patch("2", json!([id])).await.1["image_ids"], json!([id]));
    assert_eq!(app.send("GET", &path, &[], "").await.1["image_ids"], json!([id]));
}

#[tokio::test]
async fn what_is_no_picture_is_refused() {
    let app = TestApp::new().await;
    let long = [PNG, &vec![0; 5 * 1024 * 1024]].concat();
    let (file, end) = (field("file", "a.png", PNG), b"--b--\r\n".to_vec());
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("application/json", b"{}".to_vec(), 415, "unsupported_media_type"),
        ("multipart/form-data", form(PNG), 415, "unsupported_media_type"),
        (FORM, form(b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>"), 415, "unsupported_media_type"),
        (FORM, form(b""), 415, "unsupported_media_type"),
        (FORM, form(&PNG[..20]), 422, "invalid_image"),
        (FORM, form(&png(50_000, 50_000)), 422, "invalid_image"),
        (FORM, form(&png(0, 1)), 422, "invalid_image"),
        (FORM, form(&long), 413, "body_too_large"),
        (FORM, vec![b'x'; 6 * 1024 * 1024], 413, "body_too_large"),
        (FORM, b"".to_vec(), 422, "invalid_body"),
        (FORM, b"--b--\r\n".to_vec(), 422, "invalid_body"),
        (FORM, b"nothing like a form".to_vec(), 422, "invalid_body"),
        (FORM, file.clone(), 422, "invalid_body"),
        (FORM, form(PNG)[..40].to_vec(), 422, "invalid_body"),
        (FORM, [field("picture", "a.png", PNG), end.clone()].concat(), 422, "invalid_body"),
        (FORM, [file.clone(), file.clone(), end.clone()].concat(), 422, "invalid_body"),
        (FORM, [file, field("more", "", b"x"), end].concat(), 422, "invalid_body"),
    ];
    for (kind, body, status, code) in cases {
        let start = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        let (found, problem) = app.upload(kind, None, body).await;
        assert_eq!((found.as_u16(), problem["code"].as_str()), (status, Some(code)), "{kind} {start:?} {problem}");
    }
    let anonymous =
        Request::post("/admin/api/v1/images").header(header::CONTENT_TYPE, FORM).body(Body::from(form(PNG)));
    let refused = app.router.clone().oneshot(anonymous.unwrap()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(app.pictures(), 0);
}

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::Mutex,
};

use base64::prelude::{BASE64_STANDARD, Engine};
use foundation::{Clock, SystemClock, config};
use futures_util::StreamExt;
use hmac::{Hmac, KeyInit, Mac};
use opendal::{Buffer, HttpBody, HttpTransport, HttpTransporter, OperationContext};
use sha1::Sha1;
use ureq::http::{Request, Response};

use super::{oss::SIGNED_FOR, *};

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([8, 6, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(b"\0\0\0\0IEND\xaeB`\x82");
    bytes
}

fn gif(width: u16, height: u16) -> Vec<u8> {
    [&b"GIF89a"[..], &width.to_le_bytes(), &height.to_le_bytes(), &[0; 16]].concat()
}

const COMMENT: &[u8] = b"\xff\xfe\0\x09padding";

fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let frame = [&b"\xff\xc0\0\x17\x08"[..], &height.to_be_bytes(), &width.to_be_bytes(), &[3; 16]].concat();
    [&b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"[..], COMMENT, &frame].concat()
}

/// The extended form, whose canvas is said in three bytes less one.
fn webp(width: u32, height: u32) -> Vec<u8> {
    let side = |pixels: u32| (pixels - 1).to_le_bytes();
    [b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0", &side(width)[..3], &side(height)[..3], &[0; 16]].concat()
}

#[test]
fn pictures_are_told_by_their_first_bytes() {
    let check = |bytes: &[u8], expect: Result<Kind, NotTaken>| {
        assert_eq!(picture::kind(bytes), expect, "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
    };
    check(&png(800, 600), Ok(Kind::Png));
    check(&gif(800, 600), Ok(Kind::Gif));
    check(&jpeg(800, 600), Ok(Kind::Jpeg));
    check(&webp(800, 600), Ok(Kind::Webp));
    check(&png(10_000, 4_000), Ok(Kind::Png));

    check(&png(50_000, 50_000), Err(NotTaken::Size));
    check(&png(u32::MAX, u32::MAX), Err(NotTaken::Size));
    check(&png(10_001, 1), Err(NotTaken::Size));
    check(&png(10_000, 4_001), Err(NotTaken::Size));
    check(&png(0, 600), Err(NotTaken::Size));
    check(&gif(65_535, 65_535), Err(NotTaken::Size));
    check(&jpeg(65_535, 65_535), Err(NotTaken::Size));
    check(&webp(1 << 14, 1 << 14), Err(NotTaken::Size));

    check(&png(800, 600)[..20], Err(NotTaken::Damaged));
    check(&jpeg(800, 600)[..30], Err(NotTaken::Damaged));
    check(&gif(800, 600)[..7], Err(NotTaken::OtherKind));
    for other in [
        &b""[..],
        b"\0",
        b"x",
        b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>",
        b"<?xml version=\"1.0\"?><svg/>",
        b"<html>GIF89a",
        b"BM\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"%PDF-1.7 and so on, long enough for everybody",
        &[0; 64],
    ] {
        check(other, Err(NotTaken::OtherKind));
    }
    for brand in [b"avif", b"avis", b"heic", b"heix", b"mif1"] {
        let file = [&b"\0\0\0\x1cftyp"[..], brand, b"\0\0\0\0mif1heic and so on"].concat();
        check(&file, Err(NotTaken::PhoneKind));
    }
    check(b"\0\0\0\x1cftypisom\0\0\0\0isomiso2 a film, and no picture", Err(NotTaken::OtherKind));
    let mut long = png(800, 600);
    long.resize(BYTES_MAX, 0);
    check(&long, Ok(Kind::Png));
    long.push(0);
    check(&long, Err(NotTaken::TooLong));
}

/// Any bytes may follow the first ones.
#[test]
fn no_damage_panics() {
    for whole in [png(8, 6), gif(8, 6), jpeg(8, 6), webp(8, 6)] {
        for at in 0..whole.len() {
            assert_ne!(picture::kind(&whole[..at]), Err(NotTaken::TooLong));
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] = byte;
                assert_ne!(picture::kind(&changed), Err(NotTaken::TooLong));
            }
        }
    }
}

#[test]
fn ids_are_no_paths() {
    let good = "0123456789abcdef0123456789abcdef.png";
    assert_eq!(good.parse::<ImageId>().unwrap().to_string(), good);
    for bad in [
        "",
        ".png",
        "../../etc/passwd",
        "0123456789abcdef0123456789abcdef",
        "0123456789abcdef0123456789abcdef.svg",
        "0123456789abcdef0123456789abcdef.png.png",
        "0123456789ABCDEF0123456789ABCDEF.png",
        "+123456789abcdef0123456789abcdef.png",
        "0123456789abcdef0123456789abcde.png",
        "/123456789abcdef0123456789abcdef.png",
        "..23456789abcdef0123456789abcdef.png",
        "0123456789abcdef0123456789abcdef.PNG",
        "0123456789abcdef0123456789abcdef.png\0",
    ] {
        assert_eq!(bad.parse::<ImageId>(), Err(InvalidImageId), "{bad}");
    }
}

fn settings(yaml: &str) -> ImagesConfig {
    config::load(Some(("test", yaml)), std::iter::empty()).unwrap().images
}

async fn read(images: &Images, id: ImageId) -> Option<Vec<u8>> {
    let Found::Here(length, chunks) = images.find(id).await.unwrap()? else { panic!("a file is here") };
    let chunks: Vec<_> = chunks.collect().await;
    let bytes: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.unwrap().to_vec()).collect();
    assert_eq!(bytes.len() as u64, length);
    Some(bytes)
}

#[tokio::test]
async fn files_come_back_as_they_were_kept() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("images");
    let open = || Images::open(&settings(""), &place, "http://shop").unwrap();
    let images = open();
    let mut large = jpeg(4_000, 3_000);
    large.extend(b"\xff\xda\0\x02");
    large.extend((0..300_000_u32).map(|at| u8::try_from(at % 251).unwrap()));
    large.extend(b"\xff\xd9");
    // Its comment is not kept.
    let comment = large.windows(COMMENT.len()).position(|part| part == COMMENT).unwrap();
    large.drain(comment..comment + COMMENT.len());
    let (one, two) = (images.add(large.clone()).await.unwrap(), images.add(png(1, 1)).await.unwrap());
    assert_ne!(one, images.add(large.clone()).await.unwrap());
    let images = open();
    assert_eq!((read(&images, one).await, read(&images, two).await), (Some(large), Some(png(1, 1))));
    assert!(images.exists(one).await.unwrap());
    let other: ImageId = "0123456789abcdef0123456789abcdef.png".parse().unwrap();
    assert!(!images.exists(other).await.unwrap());
    assert_eq!(read(&images, other).await, None);
    assert_eq!(images.url(other), format!("http://shop/images/{other}"));
    assert!(matches!(images.add(b"<svg/>".to_vec()).await, Err(AddError::NotTaken(NotTaken::OtherKind))));
    let left: Vec<_> = std::fs::read_dir(place.join(".partial")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

fn oss(endpoint: &str) -> Images {
    let yaml = format!(
        "images:\n  oss_endpoint: {endpoint}\n  oss_bucket: mall\n  oss_access_key_id: an-id\n  oss_access_key_secret: a-secret\n"
    );
    Images::open(&settings(&yaml), Path::new("unused"), "http://shop").unwrap()
}

/// Signing asks nobody.
#[tokio::test]
async fn objects_have_signed_addresses() {
    let images = oss("https://oss-cn-hangzhou.aliyuncs.com");
    let id: ImageId = "0123456789abcdef0123456789abcdef.png".parse().unwrap();
    let Some(Found::At(url)) = images.find(id).await.unwrap() else { panic!("an object is elsewhere") };
    let (place, query) = url.split_once('?').unwrap();
    assert_eq!(place, format!("https://mall.oss-cn-hangzhou.aliyuncs.com/{id}"));
    let query: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).collect();
    let names: Vec<&str> = query.keys().map(AsRef::as_ref).collect();
    assert_eq!((names, &*query["OSSAccessKeyId"]), (vec!["Expires", "OSSAccessKeyId", "Signature"], "an-id"));
    let left = SystemClock.now_ms() / 1000 + SIGNED_FOR.as_secs() - query["Expires"].parse::<u64>().unwrap();
    assert!(left <= 60, "{left} seconds ago");
    let mut mac = Hmac::<Sha1>::new_from_slice(b"a-secret").unwrap();
    mac.update(format!("GET\n\n\n{}\n/mall/{id}", query["Expires"]).as_bytes());
    assert_eq!(query["Signature"], BASE64_STANDARD.encode(mac.finalize().into_bytes()));
}

/// Notes what OSS is asked, and answers with a status.
#[derive(Clone)]
struct Oss(Arc<Mutex<Vec<String>>>, u16);

impl HttpTransport for Oss {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>, opendal::Error> {
        let (parts, body) = request.into_parts();
        let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let (kind, signature) = (header("content-type"), header("authorization").unwrap_or_default());
        let signed = signature.starts_with("OSS an-id:") || signature.starts_with("OSS4-HMAC-SHA256");
        let asked = format!("{} {} {kind:?} {} {signed}", parts.method, parts.uri, body.len());
        self.0.lock().unwrap().push(asked);
        let body = HttpBody::new(futures_util::stream::iter([Ok(Buffer::new())]), None);
        Ok(Response::builder().status(self.1).header("content-length", 0).body(body).unwrap())
    }
}

#[tokio::test]
async fn objects_are_put_with_their_type() {
    let place = "https://mall.oss-cn-hangzhou.aliyuncs.com";
    let (asked, length) = (Arc::default(), png(2, 2).len());
    let mut images = oss("https://oss-cn-hangzhou.aliyuncs.com");
    let mut answers = |status: u16| {
        let context =
            OperationContext::new().with_http_transport(HttpTransporter::new(Oss(Arc::clone(&asked), status)));
        let Place::Bucket(bucket) = &mut images.place else { panic!("pictures are in a bucket") };
        bucket.0 = bucket.0.clone().with_context(context);
        images.clone()
    };
    let id = answers(200).add(png(2, 2)).await.unwrap();
    assert!(answers(200).exists(id).await.unwrap());
    assert!(!answers(404).exists(id).await.unwrap());
    assert!(answers(403).exists(id).await.is_err());
    assert!(matches!(answers(500).add(png(2, 2)).await, Err(AddError::Failed(_))));
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0], format!("PUT {place}/{id} Some(\"image/png\") {length} true"));
    assert_eq!(asked[1], format!("HEAD {place}/{id} None 0 true"));
}

/// The way to OSS itself, to a server of one request.
#[tokio::test]
async fn requests_go_out_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/an/object?a=b", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut text, mut bytes) = (String::new(), [0; 4096]);
        while !text.ends_with("the body") {
            let count = stream.read(&mut bytes).unwrap();
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        let answer = "HTTP/1.1 418 I'm a teapot\r\nX-Oss: yes\r\nContent-Length: 6\r\nConnection: close\r\n\r\nanswer";
        stream.write_all(answer.as_bytes()).unwrap();
        text
    });
    let request = Request::put(url).header("x-oss-a", "b").body(Buffer::from("the body")).unwrap();
    let answer = transport::Transport::new().fetch(request).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["x-oss"]), (418, &"yes".parse().unwrap()));
    assert_eq!(answer.into_body().to_buffer().await.unwrap().to_vec(), b"answer");
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("PUT /an/object?a=b HTTP/1.1\r\n") && asked.contains("x-oss-a: b\r\n"), "{asked}");
    assert!(
        transport::Transport::new()
            .fetch(Request::get("http://127.0.0.1:1/").body(Buffer::new()).unwrap())
            .await
            .is_err()
    );
}

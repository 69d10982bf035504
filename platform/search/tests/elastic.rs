//! The index in a real Elasticsearch: the suite, and what only a server can suffer.
#![expect(clippy::unwrap_used, reason = "a test may end so")]

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use search::{
    Analyzer, Change, Elastic, ElasticSettings, Embedded, IndexError, Outcome, Position, SearchError, SearchIndex,
    SearchRequest, Sort, State, conformance, generator,
};
use services::{Elasticsearch, Nginx};

fn elastic(settings: ElasticSettings) -> Elastic {
    Elastic::new(settings, Analyzer::shared().clone()).unwrap()
}

/// Ten times as patient as a mall, since other tests take the processors.
fn settings(server: &Elasticsearch, index: &str) -> ElasticSettings {
    let settings = ElasticSettings::new(&server.url()).unwrap().index(index).unwrap();
    settings.timeouts(Duration::from_secs(30), Duration::from_secs(300))
}

fn fill(index: &dyn SearchIndex, items: &[generator::Item]) {
    let mut rebuild = index.rebuild().unwrap();
    for chunk in items.chunks(1_000) {
        rebuild.add(chunk.iter().map(|item| item.product.clone()).collect()).unwrap();
    }
    rebuild.finish(Position::new("1").as_ref()).unwrap();
}

#[test]
fn it_does_what_every_index_must() {
    let Some(server) = Elasticsearch::start() else { return };
    let made = AtomicU32::new(0);
    conformance::run(&|| {
        let name = format!("case-{}", made.fetch_add(1, Ordering::Relaxed));
        Box::new(elastic(settings(&server, &name)))
    });
}

#[test]
fn it_finds_what_the_embedded_index_finds() {
    let Some(server) = Elasticsearch::start() else { return };
    let there = elastic(settings(&server, "same"));
    let dir = tempfile::tempdir().unwrap();
    let here = Embedded::open(dir.path(), Analyzer::shared().clone()).unwrap();
    let items = generator::products(11, 3_000);
    fill(&there, &items);
    fill(&here, &items);
    let queries = generator::queries(11, &items);
    for (at, query) in queries.iter().enumerate() {
        let sorts = [Sort::Relevance, Sort::PriceAsc, Sort::PriceDesc, Sort::Newest, Sort::Sales];
        let request = SearchRequest {
            facets: true,
            sort: if at % 2 == 0 { Sort::Relevance } else { sorts[at / 2 % 5] },
            price_bounds_cents: [10_000, 100_000].map(contract::money::Cents::new).to_vec(),
            ..SearchRequest::new(&query.text)
        };
        let (mut expected, mut found) = (here.search(&request).unwrap(), there.search(&request).unwrap());
        assert_eq!(found, expected, "{}", query.text);
        if let Some(cursor) = expected.next_cursor.take() {
            found = there.search(&SearchRequest { cursor: Some(cursor.clone()), ..request.clone() }).unwrap();
            expected = here.search(&SearchRequest { cursor: Some(cursor), ..request }).unwrap();
            assert_eq!(found, expected, "the second page of {}", query.text);
        }
        let start: String = query.text.chars().take(3).collect();
        assert_eq!(there.suggest(&start, 10).unwrap(), here.suggest(&start, 10).unwrap(), "{start}");
    }
}

#[test]
fn a_server_that_is_gone_is_a_quick_error() {
    let Some(mut server) = Elasticsearch::start() else { return };
    let index = elastic(settings(&server, "gone"));
    let items = generator::products(2, 50);
    fill(&index, &items);
    let request = SearchRequest::new("手机");
    let before = index.search(&request).unwrap();
    server.kill();
    let started = Instant::now();
    for _ in 0..50 {
        let error = index.search(&request).unwrap_err();
        assert!(matches!(error, SearchError::Index(IndexError::Unavailable(_))), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(matches!(index.state(), Err(IndexError::Unavailable(_))));
    let change = [Change::Remove { id: items[0].product.id, version: 5 }];
    assert!(matches!(index.apply(&change, None), Err(IndexError::Unavailable(_))));

    server.resume();
    let until = Instant::now() + Duration::from_secs(20);
    while index.search(&request).is_err() {
        assert!(Instant::now() < until, "it is found again");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(index.search(&request).unwrap(), before, "what was acknowledged survived kill -9");
    assert_eq!(index.position().unwrap(), Position::new("1"));
    assert_eq!(index.apply(&change, None).unwrap(), [Outcome::Written]);
}

#[test]
fn tls_and_a_password_are_used() {
    let Some(server) = Elasticsearch::start() else { return };
    let Some(nginx) = Nginx::start_tls(server.address(), "shop", "p@ss%word") else { return };
    let url = |user: &str| format!("https://{user}localhost:{}", nginx.address().port());
    let pem = nginx.certificate().unwrap();
    let with = |url: &str| ElasticSettings::new(url).unwrap().index("secure").unwrap();

    let index = elastic(with(&url("shop:p%40ss%25word@")).certificates(&pem));
    fill(&index, &generator::products(2, 50));
    assert_eq!(index.state(), Ok(State::Ready));
    assert!(index.search(&SearchRequest::new("手机")).unwrap().total > 0);
    let index = elastic(with(&url("")).user("shop", "p@ss%word").certificates(&pem));
    assert_eq!(index.state(), Ok(State::Ready));

    let refused = |settings: ElasticSettings, reason: &str| match elastic(settings).state() {
        Err(IndexError::Unavailable(found)) => assert!(found.contains(reason), "{found}"),
        other => panic!("{other:?}"),
    };
    refused(with(&url("shop:wrong@")).certificates(&pem), "401");
    refused(with(&url("")).certificates(&pem), "401");
    refused(with(&url("shop:p%40ss%25word@")), "certificate");
    assert!(Elastic::new(with(&url("")).certificates("no pem"), Analyzer::shared().clone()).is_err());
}

#[test]
fn an_index_of_another_kind_must_be_rebuilt() {
    let Some(server) = Elasticsearch::start() else { return };
    let agent = ureq::Agent::new_with_defaults();
    agent
        .put(format!("{}/strange-1?wait_for_active_shards=1", server.url()))
        .send_json(serde_json::json!({"aliases": {"strange": {}}}))
        .unwrap();
    let index = elastic(settings(&server, "strange"));
    assert!(matches!(index.state(), Ok(State::NeedsRebuild { .. })), "{:?}", index.state());
    assert!(matches!(index.search(&SearchRequest::new("手机")), Err(SearchError::Index(IndexError::NeedsRebuild(_)))));
    fill(&index, &generator::products(2, 50));
    assert_eq!(index.state(), Ok(State::Ready));
    let names = agent
        .get(format!("{}/_cat/indices/strange*?h=index", server.url()))
        .call()
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap();
    assert_eq!(names.lines().count(), 1, "the old index is gone: {names}");
}

#[test]
fn removals_outlive_the_servers_memory_of_them() {
    let Some(server) = Elasticsearch::start() else { return };
    let index = elastic(settings(&server, "removed"));
    let product = generator::products(2, 1).remove(0).product;
    fill(&index, &[]);
    // The server forgets deleted documents at once.
    let body = serde_json::json!({"index": {"gc_deletes": "0s"}});
    ureq::Agent::new_with_defaults().put(format!("{}/removed/_settings", server.url())).send_json(body).unwrap();
    let put = |version: i64| Change::Put(Box::new(search::Product { version, ..product.clone() }));
    assert_eq!(index.apply(&[put(1)], None).unwrap(), [Outcome::Written]);
    assert_eq!(index.apply(&[Change::Remove { id: product.id, version: 3 }], None).unwrap(), [Outcome::Written]);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(index.apply(&[put(2)], None).unwrap(), [Outcome::Older]);
    assert_eq!(index.size().unwrap().products, 0);
}

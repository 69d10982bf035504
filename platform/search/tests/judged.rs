//! How well searches find what is meant.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may end so, and says what it measured")]

use std::collections::BTreeMap;

use contract::ids::ProductId;
use search::{
    Analyzer, Elastic, ElasticSettings, Embedded, SearchIndex, SearchRequest, Synonyms,
    generator::{self, Item, Kind},
};

/// Products of each catalogue; `make search-long` sets [`PRODUCTS_VARIABLE`] for more of the first one alone.
const PRODUCTS: usize = 10_000;
const PRODUCTS_VARIABLE: &str = "SEARCH_JUDGED_PRODUCTS";
const MAIN_SEED: u64 = 1;
const OTHER_SEEDS: [u64; 3] = [7, 42, 20_261_127];
const GOOD: f64 = 0.9;

fn fill(index: &dyn SearchIndex, items: &[Item]) {
    let mut rebuild = index.rebuild().unwrap();
    for chunk in items.chunks(1_000) {
        rebuild.add(chunk.iter().map(|item| item.product.clone()).collect()).unwrap();
    }
    rebuild.finish(None).unwrap();
}

fn hits(index: &dyn SearchIndex, text: &str) -> Vec<ProductId> {
    let request = SearchRequest { limit: 10, ..SearchRequest::new(text) };
    index.search(&request).unwrap().hits.into_iter().map(|hit| hit.product.id).collect()
}

fn products() -> usize {
    std::env::var(PRODUCTS_VARIABLE).map_or(PRODUCTS, |products| products.parse().unwrap())
}

fn seeds() -> Vec<u64> {
    let others = if products() > PRODUCTS { &[][..] } else { &OTHER_SEEDS };
    [&[MAIN_SEED][..], others].concat()
}

fn judge(index: &dyn SearchIndex, seed: u64) {
    let items = generator::products(seed, products());
    fill(index, &items);
    let queries = generator::queries(seed, &items);
    let mut kinds: BTreeMap<Kind, (f64, f64, f64)> = BTreeMap::new();
    for query in &queries {
        let quality = generator::quality(query, &items, &hits(index, &query.text));
        if quality.recall < 0.9 || quality.reciprocal_rank < 0.9 {
            println!(
                "seed {seed} {:?} {:?}: rank {:.2} recall {:.2}",
                query.kind, query.text, quality.reciprocal_rank, quality.recall
            );
        }
        let sum = kinds.entry(query.kind).or_default();
        *sum = (sum.0 + 1.0, sum.1 + quality.reciprocal_rank, sum.2 + quality.recall);
    }
    let all = kinds.values().fold((0.0, 0.0, 0.0), |all, kind| (all.0 + kind.0, all.1 + kind.1, all.2 + kind.2));
    for (kind, (count, rank, recall)) in &kinds {
        println!("seed {seed} {kind:?}: {count} queries, MRR@10 {:.3}, recall@10 {:.3}", rank / count, recall / count);
    }
    let (rank, recall) = (all.1 / all.0, all.2 / all.0);
    println!("seed {seed}: {} products, {} queries, MRR@10 {rank:.3}, recall@10 {recall:.3}", items.len(), all.0);
    let count = |kind: Kind| kinds.get(&kind).map_or(0.0, |kind| kind.0);
    assert!(all.0 >= 80.0 && count(Kind::Segment) >= 20.0 && count(Kind::Typo) >= 10.0 && count(Kind::Pinyin) >= 10.0);
    assert!(rank >= GOOD && recall >= GOOD, "seed {seed}: MRR@10 {rank:.3}, recall@10 {recall:.3}");
}

#[test]
fn embedded_search_finds_what_is_meant() {
    for seed in seeds() {
        let dir = tempfile::tempdir().unwrap();
        let index = Embedded::open(dir.path(), Analyzer::new(Synonyms::shop())).unwrap();
        judge(&index, seed);
    }
}

#[test]
fn elasticsearch_finds_what_is_meant() {
    let Some(server) = services::Elasticsearch::start() else { return };
    for seed in seeds() {
        let settings = ElasticSettings::new(&server.url()).unwrap().index(&format!("judged-{seed}")).unwrap();
        judge(&Elastic::new(settings, Analyzer::new(Synonyms::shop())).unwrap(), seed);
    }
}

//! The version of a product's document, and the records that name it.

use contract::{
    CategoryId, Cents, ProductId, SkuId,
    record::{ProductChanged, Record as _},
    topic,
};
use domain::{SaleStore as _, conformance::Fixture};
use tokio::task::JoinSet;

use super::{
    Place,
    shop::{asks, buyer, place_one},
};
use crate::*;

super::cases! {
    every_change_of_a_document_has_a_version => versions,
    changes_made_at_once_have_versions_of_their_own => at_once,
}

fn product() -> ProductId {
    ProductId::from_i64(1).unwrap()
}

fn sku() -> SkuId {
    SkuId::from_i64(7).unwrap()
}

async fn version(store: &Store) -> i64 {
    store.catalogue().search_entries(&[product()]).await.unwrap()[0].version
}

/// The versions that records name, in the order in which they were sent.
async fn sent_versions(store: &Store) -> Vec<i64> {
    let rows = store.outbox(1_000).await.unwrap();
    let records = rows.iter().filter(|row| row.topic == topic::CATALOGUE);
    let changed = records.map(|row| ProductChanged::decode(&row.value).unwrap());
    changed
        .map(|changed| {
            assert!(changed.product == product() && changed.at_ms > 1_700_000_000_000, "{changed:?}");
            changed.version
        })
        .collect()
}

async fn versions(place: &Place) {
    let store = place.fresh().await;
    assert_eq!((version(&store).await, sent_versions(&store).await), (1, vec![]));
    let price = SkuPatch { attributes: None, price_cents: Some(Cents::new(1)) };
    store.catalogue().patch_sku(sku(), 1, price).await.unwrap();
    store.catalogue().shelve(product(), false).await.unwrap();
    store.catalogue().shelve(product(), false).await.unwrap();
    store.catalogue().shelve(product(), true).await.unwrap();
    let title = ProductPatch { title: Some("另一个".to_owned()), ..ProductPatch::default() };
    let at = store.catalogue().product(product()).await.unwrap().unwrap().version;
    store.catalogue().patch_product(product(), at, title).await.unwrap();
    let name = CategoryPatch { name: Some("另一类".to_owned()), ..CategoryPatch::default() };
    store.catalogue().patch_category(CategoryId::from_i64(1).unwrap(), 1, name).await.unwrap();
    assert_eq!((version(&store).await, sent_versions(&store).await), (6, vec![2, 3, 4, 5, 6]));
    // Only the last unit changes what is found.
    let ada = buyer(&store, "ada").await;
    place_one(&store, &asks(ada, 99, None)).await;
    assert_eq!(version(&store).await, 6);
    place_one(&store, &asks(ada, 1, None)).await;
    assert_eq!((version(&store).await, sent_versions(&store).await.last()), (7, Some(&7)));
}

async fn at_once(place: &Place) {
    let store = place.fresh().await;
    let mut skus = Vec::new();
    for at in 0..10 {
        let attributes = Attributes::from([("号".to_owned(), at.to_string())]);
        let new = NewSku { product: product(), attributes, price: Cents::new(1), stock: 1 };
        skus.push(store.catalogue().add_sku(new, 1).await.unwrap().unwrap().sku_id);
    }
    let mut running = JoinSet::new();
    for sku in skus {
        let store = store.clone();
        running.spawn(async move {
            let patch = SkuPatch { attributes: None, price_cents: Some(Cents::new(2)) };
            assert!(matches!(store.catalogue().patch_sku(sku, 1, patch).await.unwrap(), Changed::Done(_)));
        });
    }
    running.join_all().await;
    let mut sent = sent_versions(&store).await;
    sent.sort_unstable();
    assert_eq!((version(&store).await, sent), (21, (2..=21).collect()));
}

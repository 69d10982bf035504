//! Compares an index with the database, product by product.

use std::collections::VecDeque;

use contract::{Cents, ProductId};
use search::{Change, IndexError, Product};

use super::{
    control::{Progress, ProgressSender, Stage},
    documents::Pages,
};

/// Products of the index that are read at once.
const READ_MAX: usize = 500;
/// Differences that are kept; more are counted.
pub(super) const SUSPECTS_MAX: usize = 1_000;

/// Reads the next products of an index after an id; the number is the most that it may return.
pub(super) type ReadIndex<'a> = dyn FnMut(Option<ProductId>, usize) -> Result<Vec<Product>, IndexError> + 'a;

/// A product that differed when it was read. It may only have changed between two reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suspect {
    pub product: ProductId,
    /// The version that the database had; `None` where it had no such product.
    pub version: Option<i64>,
    /// Whether it was on the shelf in the database.
    pub is_listed: bool,
    pub what: String,
}

/// The result of one pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pass {
    /// Products on the shelf that were compared.
    pub products: u64,
    /// The first products that differ.
    pub suspects: Vec<Suspect>,
    /// Products that differ and are not among the suspects.
    pub more: u64,
}

impl Pass {
    fn note(&mut self, database: Option<&Change>, indexed: Option<&Product>) {
        let Some(what) = difference(database, indexed) else { return };
        let id = database.map(Change::id).or_else(|| indexed.map(|product| product.id));
        let Some(product) = id.filter(|_| self.suspects.len() < SUSPECTS_MAX) else {
            self.more += 1;
            return;
        };
        let version = database.map(Change::version);
        self.suspects.push(Suspect { product, version, is_listed: is_listed(database), what });
    }
}

/// Compares every product of the database with the index and the other way round.
pub(super) fn compare(
    mut pages: Pages,
    read: &mut ReadIndex<'_>,
    total: u64,
    progress: &ProgressSender,
) -> Result<Pass, IndexError> {
    let mut indexed = IndexReader { read, buffer: VecDeque::new(), after: None, is_read: false };
    let (mut pass, mut done) = (Pass::default(), 0);
    loop {
        let page = pages.blocking_recv();
        let page = page.ok_or_else(|| IndexError::Unavailable("the products could not be read".to_owned()))?;
        let Some(page) = page else { break };
        for change in &page {
            while let Some(unknown) = indexed.next_before(change.id())? {
                pass.note(None, Some(&unknown));
            }
            let product = indexed.next_if(change.id())?;
            pass.products += u64::from(is_listed(Some(change)));
            pass.note(Some(change), product.as_ref());
        }
        done += u64::try_from(page.len()).unwrap_or_default();
        progress.send_replace(Progress { stage: Stage::Compare, done, total });
    }
    while let Some(unknown) = indexed.next()? {
        pass.note(None, Some(&unknown));
    }
    Ok(pass)
}

/// The products of an index, one after another.
struct IndexReader<'a, 'b> {
    read: &'a mut ReadIndex<'b>,
    buffer: VecDeque<Product>,
    after: Option<ProductId>,
    is_read: bool,
}

impl IndexReader<'_, '_> {
    fn fill(&mut self) -> Result<(), IndexError> {
        if self.buffer.is_empty() && !self.is_read {
            let products = (self.read)(self.after, READ_MAX)?;
            self.is_read = products.len() < READ_MAX;
            self.after = products.last().map(|product| product.id).or(self.after);
            self.buffer = products.into();
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Product>, IndexError> {
        self.fill()?;
        Ok(self.buffer.pop_front())
    }

    fn next_before(&mut self, id: ProductId) -> Result<Option<Product>, IndexError> {
        self.fill()?;
        Ok(self.buffer.pop_front_if(|product| product.id < id))
    }

    fn next_if(&mut self, id: ProductId) -> Result<Option<Product>, IndexError> {
        self.fill()?;
        Ok(self.buffer.pop_front_if(|product| product.id == id))
    }
}

/// Whether the database has the product on the shelf.
pub(super) const fn is_listed(database: Option<&Change>) -> bool {
    matches!(database, Some(Change::Put(_)))
}

/// What differs between the database and the index; `None` where nothing does. Sales have no version and are left out.
pub(super) fn difference(database: Option<&Change>, indexed: Option<&Product>) -> Option<String> {
    match (database, indexed) {
        (None | Some(Change::Remove { .. }), None) => None,
        (None, Some(indexed)) => {
            Some(format!("the index has version {}, the database does not have the product", indexed.version))
        }
        (Some(Change::Remove { version, .. }), Some(indexed)) => Some(format!(
            "the index has version {}, in the database it is off the shelf with version {version}",
            indexed.version
        )),
        // No index can hold it.
        (Some(change @ Change::Put(_)), None) if change.check().is_err() => None,
        (Some(Change::Put(product)), None) => {
            Some(format!("the index does not have it, the database has version {}", product.version))
        }
        (Some(Change::Put(product)), Some(indexed)) if product.version != indexed.version => {
            Some(format!("the index has version {}, the database has version {}", indexed.version, product.version))
        }
        (Some(Change::Put(product)), Some(indexed)) => {
            field(product, indexed).map(|field| format!("version {} has another {field} in the index", product.version))
        }
    }
}

fn prices(product: &Product) -> Vec<Cents> {
    product.offers.iter().map(|offer| offer.price_cents).collect()
}

/// The first field that differs.
fn field(database: &Product, indexed: &Product) -> Option<&'static str> {
    let same = [
        ("title", database.title == indexed.title),
        ("subtitle", database.subtitle == indexed.subtitle),
        ("category", database.categories == indexed.categories),
        ("attribute", database.attributes == indexed.attributes),
        ("price", prices(database) == prices(indexed)),
        ("stock", database.offers == indexed.offers),
        ("date", database.created_at_ms == indexed.created_at_ms),
    ];
    same.into_iter().find(|(_, is_same)| !is_same).map(|(field, _)| field)
}

#[cfg(test)]
mod tests {
    use search::generator;
    use tokio::sync::{mpsc, watch};

    use super::*;

    fn compared(database: Vec<Vec<Change>>, index: &[Product]) -> Pass {
        let (pages, receiver) = mpsc::channel(database.len() + 1);
        for page in database {
            pages.try_send(Some(page)).unwrap();
        }
        pages.try_send(None).unwrap();
        let mut read = |after: Option<ProductId>, limit: usize| {
            Ok(index.iter().filter(|product| Some(product.id) > after).take(limit).cloned().collect())
        };
        compare(receiver, &mut read, 0, &watch::channel(Progress::default()).0).unwrap()
    }

    fn put(product: &Product) -> Change {
        Change::Put(Box::new(product.clone()))
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let mut products: Vec<Product> = generator::products(1, 1_203).into_iter().map(|item| item.product).collect();
        products.sort_by_key(|product| product.id);
        let database: Vec<Change> = products.iter().map(put).collect();
        let pages = |database: &[Change]| database.chunks(100).map(<[Change]>::to_vec).collect::<Vec<_>>();
        let mut sold = products.clone();
        sold[3].sales += 1;
        assert_eq!(
            compared(pages(&database), &sold),
            Pass { products: 1_203, ..Pass::default() },
            "sales are left out"
        );

        let mut index = products.clone();
        index[2].version += 1;
        index[600].title.push('!');
        index[601].offers[0].in_stock ^= true;
        index.remove(1_000);
        let mut database = database;
        database.remove(1_202);
        database[7] = Change::Remove { id: products[7].id, version: 9 };
        let pass = compared(pages(&database), &index);
        let found: Vec<(ProductId, &str)> =
            pass.suspects.iter().map(|suspect| (suspect.product, suspect.what.as_str())).collect();
        assert_eq!(
            found,
            [
                (products[2].id, "the index has version 2, the database has version 1"),
                (products[7].id, "the index has version 1, in the database it is off the shelf with version 9"),
                (products[600].id, "version 1 has another title in the index"),
                (products[601].id, "version 1 has another stock in the index"),
                (products[1_000].id, "the index does not have it, the database has version 1"),
                (products[1_202].id, "the index has version 1, the database does not have the product"),
            ]
        );
        assert_eq!((pass.products, pass.more), (1_201, 0));
        let pass = compared(pages(&database), &[]);
        assert_eq!((pass.suspects.len(), pass.more), (SUSPECTS_MAX, 201));
    }

    #[test]
    fn pages_that_end_early_are_an_error() {
        let (pages, receiver) = mpsc::channel(1);
        pages.try_send(Some(Vec::new())).unwrap();
        drop(pages);
        let progress = watch::channel(Progress::default()).0;
        assert!(compare(receiver, &mut |_, _| Ok(Vec::new()), 0, &progress).is_err());
    }
}

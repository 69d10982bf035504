//! What is indexed.

use contract::ids::{CategoryId, ProductId};
use contract::money::Cents;
use serde::{Deserialize, Serialize};

use crate::limits::{ATTRIBUTES_MAX, CATEGORY_DEPTH_MAX, NAME_CHARS_MAX, PRICES_MAX, TITLE_CHARS_MAX};

/// A product as it is searched for: the SPU with what its SKUs and categories add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// Grows with every change of anything below except [`sales`](Self::sales). Above zero.
    pub version: i64,
    /// Its title.
    pub title: String,
    /// Its subtitle; may be empty.
    pub subtitle: String,
    /// From the root to its own category.
    pub categories: Vec<Category>,
    /// Those of its SKUs together, each once.
    pub attributes: Vec<Attribute>,
    /// One for each SKU, at least one, in any order.
    pub offers: Vec<Offer>,
    /// Units sold lately.
    pub sales: u64,
    /// When it was made, in milliseconds since 1970.
    pub created_at_ms: u64,
}

/// A category on the way from the root to a product's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// Its id.
    pub id: CategoryId,
    /// Its name.
    pub name: String,
}

/// A SKU as far as filters see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its price.
    pub price_cents: Cents,
    /// Whether a unit of it can be bought.
    pub in_stock: bool,
}

/// What a SKU is: 颜色 黑.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attribute {
    /// What is said.
    pub name: String,
    /// What it is.
    pub value: String,
}

/// What happens to an indexed product. Only the highest version of a product counts, in whatever order versions come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is on the shelf, and is this.
    Put(Box<Product>),
    /// It is off the shelf, or gone.
    Remove {
        /// Which.
        id: ProductId,
        /// Above that of every earlier change.
        version: i64,
    },
}

impl Change {
    /// Which product it is about.
    pub fn id(&self) -> ProductId {
        match self {
            Self::Put(product) => product.id,
            Self::Remove { id, .. } => *id,
        }
    }

    /// The product's version after it.
    pub fn version(&self) -> i64 {
        match self {
            Self::Put(product) => product.version,
            Self::Remove { version, .. } => *version,
        }
    }

    /// Whether an index can hold it.
    ///
    /// # Errors
    /// Why none can.
    pub fn check(&self) -> Result<(), String> {
        if self.version() <= 0 {
            return Err(format!("its version is {}, not above zero", self.version()));
        }
        match self {
            Self::Put(product) => product.check(),
            Self::Remove { .. } => Ok(()),
        }
    }
}

impl Product {
    /// The lowest price.
    pub fn price_cents(&self) -> Cents {
        self.offers.iter().map(|offer| offer.price_cents).min().unwrap_or_default()
    }

    /// Whether any SKU is in stock.
    pub fn in_stock(&self) -> bool {
        self.offers.iter().any(|offer| offer.in_stock)
    }

    fn check(&self) -> Result<(), String> {
        let at_most = |what: &str, has: usize, max: usize| {
            if has > max { Err(format!("{what}: {has}, more than {max}")) } else { Ok(()) }
        };
        at_most("characters of its title", self.title.chars().count(), TITLE_CHARS_MAX)?;
        at_most("characters of its subtitle", self.subtitle.chars().count(), TITLE_CHARS_MAX)?;
        at_most("categories", self.categories.len(), CATEGORY_DEPTH_MAX)?;
        at_most("attributes", self.attributes.len(), ATTRIBUTES_MAX)?;
        at_most("prices", self.offers.len(), PRICES_MAX)?;
        let names = self.categories.iter().map(|category| &category.name);
        let attributes = self.attributes.iter().flat_map(|attribute| [&attribute.name, &attribute.value]);
        for name in names.chain(attributes) {
            at_most("characters of a name or value", name.chars().count(), NAME_CHARS_MAX)?;
        }
        if self.offers.is_empty() {
            return Err("it has no price".to_owned());
        }
        if let Some(offer) = self.offers.iter().find(|offer| offer.price_cents.get() < 0) {
            return Err(format!("a price of {} cents", offer.price_cents.get()));
        }
        if i64::try_from(self.sales.max(self.created_at_ms)).is_err() {
            return Err("a number above 2^63 - 1".to_owned());
        }
        Ok(())
    }
}

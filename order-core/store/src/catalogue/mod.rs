//! Categories, products and SKUs, as admins write them, as shoppers see them, and as the search index holds them.

pub(crate) mod lists;
pub(crate) mod products;
pub(crate) mod search;
pub(crate) mod shelf;
pub(crate) mod skus;

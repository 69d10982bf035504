//! From scores to a page: filters, facets, order.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    ops::{Bound, RangeBounds},
};

use rustc_hash::FxHashMap;

use super::{
    evaluate::Scores,
    memory::{Memory, Row},
};
use crate::{
    page::facets,
    request::{Facets, Filters, Sort},
};

/// A hit's place in the order: what it is sorted by, the highest first, and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub key: i64,
    pub id: i64,
    pub score: u32,
}

/// What is wanted of the products that fulfil a clause.
pub(super) struct Wanted<'a> {
    pub filters: &'a Filters,
    pub sort: Sort,
    /// Only hits after this key and id.
    pub after: Option<(i64, i64)>,
    /// Hits at most.
    pub limit: usize,
    /// Between price bands; `None` where no facets are wanted.
    pub price_bounds: Option<&'a [i64]>,
}

pub(super) struct Collected {
    /// In order.
    pub places: Vec<Place>,
    /// Products that fulfil the clause, whatever the filters say.
    pub found: u64,
    /// Those of them that the filters let through.
    pub total: u64,
    pub facets: Option<Facets>,
}

pub(super) fn collect(memory: &Memory, scores: &Scores, wanted: &Wanted<'_>) -> Collected {
    let mut collected = Collected { places: Vec::new(), found: 0, total: 0, facets: None };
    let in_category: Vec<bool> = memory
        .paths()
        .iter()
        .map(|path| wanted.filters.category.is_none_or(|category| path.contains(&category)))
        .collect();
    let mut counts = wanted.price_bounds.map(|bounds| Counts::new(memory, bounds));
    let mut best = BinaryHeap::with_capacity(wanted.limit + 1);
    let rows = scores.iter().map(|(product, score)| (&memory.rows()[product as usize], score));
    for (row, score) in rows.filter(|(row, _)| row.is_live) {
        collected.found += 1;
        let passes = Passes::new(memory, row, &in_category, wanted.filters);
        if let Some(counts) = &mut counts {
            counts.add(memory, row, &passes, wanted.filters.in_stock);
        }
        if !(passes.category && passes.price && passes.stock) {
            continue;
        }
        collected.total += 1;
        let place = place(row, score + row.rank, wanted.sort);
        if wanted.after.is_some_and(|after| (place.key, place.id) >= after) {
            continue;
        }
        if best.len() < wanted.limit {
            best.push(Reverse(place));
        } else if best.peek().is_some_and(|Reverse(worst)| *worst < place) {
            best.pop();
            best.push(Reverse(place));
        }
    }
    collected.places = best.into_sorted_vec().into_iter().map(|Reverse(place)| place).collect();
    collected.facets = counts.map(Counts::facets);
    collected
}

/// The highest key comes first, whatever the order.
fn place(row: &Row, score: u32, sort: Sort) -> Place {
    let key = match sort {
        Sort::Relevance => i64::from(score),
        Sort::PriceAsc => -row.price,
        Sort::PriceDesc => row.price,
        Sort::Newest => row.created_at_ms,
        Sort::Sales => row.sales,
    };
    Place { key, id: row.id, score }
}

/// Which filters a product passes.
struct Passes {
    category: bool,
    price: bool,
    stock: bool,
    /// Whether a SKU in the price range is in stock.
    in_stock: bool,
}

impl Passes {
    fn new(memory: &Memory, row: &Row, in_category: &[bool], filters: &Filters) -> Self {
        let (min, max) = filters.prices();
        let prices = min..=max;
        let in_stock = any_within(memory.prices_in_stock(row), &prices);
        Self {
            category: in_category[row.path as usize],
            price: any_within(memory.prices(row), &prices),
            stock: filters.in_stock.is_none_or(|wanted| in_stock == wanted),
            in_stock,
        }
    }
}

fn any_within(prices: &[i64], range: &impl RangeBounds<i64>) -> bool {
    prices.iter().any(|price| range.contains(price))
}

struct Counts<'a> {
    bounds: &'a [i64],
    prices: Vec<u64>,
    /// By the number of a path.
    paths: Vec<u64>,
    memory: &'a Memory,
    in_stock: u64,
    out_of_stock: u64,
}

impl<'a> Counts<'a> {
    fn new(memory: &'a Memory, bounds: &'a [i64]) -> Self {
        let prices = if bounds.is_empty() { Vec::new() } else { vec![0; bounds.len() + 1] };
        Self { bounds, prices, paths: vec![0; memory.paths().len()], memory, in_stock: 0, out_of_stock: 0 }
    }

    fn add(&mut self, memory: &Memory, row: &Row, passes: &Passes, in_stock: Option<bool>) {
        if passes.price && passes.stock {
            self.paths[row.path as usize] += 1;
        }
        if passes.category && passes.price {
            *(if passes.in_stock { &mut self.in_stock } else { &mut self.out_of_stock }) += 1;
        }
        // Stock is a matter of the SKUs in a band, so the filter is applied to each band.
        if passes.category && !self.bounds.is_empty() {
            let (prices, prices_in_stock) = (memory.prices(row), memory.prices_in_stock(row));
            for (band, count) in self.prices.iter_mut().enumerate() {
                let from = band.checked_sub(1).map_or(0, |before| self.bounds[before]);
                let below = self.bounds.get(band).map_or(Bound::Unbounded, |below| Bound::Excluded(*below));
                let range = (Bound::Included(from), below);
                let is_in_stock = any_within(prices_in_stock, &range);
                let counts = any_within(prices, &range) && in_stock.is_none_or(|wanted| is_in_stock == wanted);
                *count += u64::from(counts);
            }
        }
    }

    fn facets(self) -> Facets {
        let mut categories: FxHashMap<i64, u64> = FxHashMap::default();
        for (path, count) in self.memory.paths().iter().zip(&self.paths) {
            path.iter().for_each(|category| *categories.entry(*category).or_default() += count);
        }
        let mut facets = facets(self.bounds, &self.prices, categories.into_iter());
        facets.in_stock = self.in_stock;
        facets.out_of_stock = self.out_of_stock;
        facets
    }
}

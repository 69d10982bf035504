//! What shops sell, from `catalogue.txt`.

use std::sync::LazyLock;

use super::random::Random;

#[derive(Debug, Clone)]
pub(super) struct Brand {
    pub chinese: &'static str,
    pub latin: &'static str,
}

/// How a brand names its models in a category.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Series,
    Code,
    Gpu,
    Shade,
    None,
}

/// A category that has products.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// From the root.
    pub path: Vec<&'static str>,
    pub nouns: Vec<&'static str>,
    pub brands: Vec<Brand>,
    pub style: Style,
    pub colours: Vec<&'static str>,
    /// Name and possible values.
    pub attributes: Vec<(&'static str, Vec<&'static str>)>,
    pub points: Vec<&'static str>,
}

impl Leaf {
    pub(super) fn name(&self) -> &'static str {
        self.path.last().copied().unwrap_or_default()
    }
}

pub(super) static LEAVES: LazyLock<Vec<Leaf>> = LazyLock::new(|| {
    let lines = include_str!("catalogue.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| read(line).unwrap_or_else(|| unreachable!("catalogue.txt is part of the crate: {line}"))).collect()
});

fn read(line: &'static str) -> Option<Leaf> {
    let list = |text: &'static str| -> Vec<&'static str> { text.split(',').collect() };
    let columns: Vec<&'static str> = line.split('|').collect();
    let [path, nouns, brands, style, colours, attributes, points] = columns.as_slice() else { return None };
    let brands = brands.split(',').map(|brand| brand.split_once('=').map(|(chinese, latin)| Brand { chinese, latin }));
    let attributes = attributes.split(';').map(|one| one.split_once('=').map(|(name, values)| (name, list(values))));
    Some(Leaf {
        path: path.split('/').collect(),
        nouns: list(nouns),
        brands: brands.collect::<Option<_>>()?,
        style: match *style {
            "series" => Style::Series,
            "code" => Style::Code,
            "gpu" => Style::Gpu,
            "shade" => Style::Shade,
            "none" => Style::None,
            _ => return None,
        },
        colours: list(colours),
        attributes: attributes.collect::<Option<_>>()?,
        points: list(points),
    })
}

const SERIES: [&str; 12] =
    ["Nova", "Reno", "Magic", "Swift", "Aero", "Zen", "Vision", "Legend", "Pulse", "Titan", "Orbit", "Spark"];
const SUFFIXES: [&str; 6] = ["", " Pro", " Max", " Plus", " SE", " Ultra"];
const LETTERS: &[u8; 23] = b"ABCDEFGHJKLMNPQRSTVWXYZ";

/// A new name for a model; `None` where the category has none.
pub(super) fn model(style: Style, random: &mut Random) -> Option<String> {
    let letters = |random: &mut Random, count: usize| -> String {
        (0..count).map(|_| char::from(LETTERS[random.below(LETTERS.len())])).collect()
    };
    match style {
        Style::None => None,
        Style::Series => {
            let (series, number) = (random.pick(&SERIES), random.range(2..90));
            Some(format!("{series} {number}{}", random.pick(&SUFFIXES)))
        }
        Style::Code => {
            let count = 1 + random.below(3);
            let (start, number) = (letters(random, count), random.range(10..9_900));
            let end = if random.chance(40) { letters(random, 1) } else { String::new() };
            Some(if random.chance(60) { format!("{start}-{number}{end}") } else { format!("{start}{number}{end}") })
        }
        Style::Gpu if random.chance(60) => {
            let number = random.range(30..60) * 100 + random.range(5..9) * 10;
            Some(format!("RTX {number}{}", random.pick(&["", " Ti", " Super"])))
        }
        Style::Gpu => {
            let number = random.range(60..99) * 100 + random.range(0..10) * 10;
            Some(format!("RX {number}{}", random.pick(&["", " XT", " XTX"])))
        }
        Style::Shade => Some(format!("{}号", random.range(100..999))),
    }
}

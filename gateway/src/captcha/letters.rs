//! Letters as lines, so that every picture can draw them in another way.

/// A point of a letter: 0 to 1 from left to right and from top to bottom.
pub(super) type Point = (f32, f32);

/// A letter. Each of its strokes is a line through points.
pub(super) struct Letter {
    pub(super) char: char,
    /// Points in a grid, a digit from 0 to 4 for the column and one from 0 to 6 for the row; `|` begins another stroke.
    strokes: &'static str,
    /// Its corners may be rounded and it is the same letter.
    is_round: bool,
}

const fn straight(char: char, strokes: &'static str) -> Letter {
    Letter { char, strokes, is_round: false }
}

const fn round(char: char, strokes: &'static str) -> Letter {
    Letter { char, strokes, is_round: true }
}

/// No two of them look alike, in upper or lower case.
pub(super) const LETTERS: [Letter; 20] = [
    straight('A', "06 20 46|14 34"),
    round('C', "41 30 10 01 05 16 36 45"),
    round('D', "00 06 26 45 41 20 00"),
    straight('E', "40 00 06 46|03 33"),
    straight('F', "40 00 06|03 33"),
    round('G', "41 30 10 01 05 16 36 45 43 23"),
    straight('H', "00 06|40 46|03 43"),
    round('J', "40 45 36 16 05"),
    straight('K', "00 06|40 03 46"),
    straight('M', "06 00 23 40 46"),
    straight('N', "06 00 46 40"),
    round('P', "06 00 30 41 42 33 03"),
    round('Q', "10 01 05 16 36 45 41 30 10|24 46"),
    round('R', "06 00 30 41 42 33 03|23 46"),
    straight('T', "00 40|20 26"),
    round('U', "00 05 16 36 45 40"),
    straight('V', "00 26 40"),
    straight('W', "00 16 23 36 40"),
    straight('X', "00 46|40 06"),
    straight('Y', "00 23 40|23 26"),
];

impl Letter {
    /// Its strokes; `rounded` cuts the corners of a round letter.
    pub(super) fn strokes(&self, rounded: bool) -> Vec<Vec<Point>> {
        let strokes = self.strokes.split('|').map(|stroke| stroke.split(' ').filter_map(point).collect());
        if rounded && self.is_round { strokes.map(cut_corners).map(cut_corners).collect() } else { strokes.collect() }
    }
}

fn point(text: &str) -> Option<Point> {
    let mut digits = text.chars().filter_map(|digit| digit.to_digit(10)).map(|digit| digit as f32);
    Some((digits.next()? / 4.0, digits.next()? / 6.0))
}

/// Replaces each corner by two points (Chaikin's algorithm). The ends stay.
fn cut_corners(line: Vec<Point>) -> Vec<Point> {
    let (Some(first), Some(last)) = (line.first().copied(), line.last().copied()) else { return line };
    let between = |(a, b): (Point, Point), part: f32| (a.0 + (b.0 - a.0) * part, a.1 + (b.1 - a.1) * part);
    let sides = line.windows(2).filter_map(|side| Some((*side.first()?, *side.last()?)));
    let cut = sides.flat_map(|side| [between(side, 0.25), between(side, 0.75)]);
    std::iter::once(first).chain(cut).chain(std::iter::once(last)).collect()
}

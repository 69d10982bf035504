//! Draws a text so that programs read it badly: every letter has another shape, slant, width and stroke, neighbours touch,
//! and lines of the same ink run through them.

use super::{
    letters::{LETTERS, Letter, Point},
    png,
};

pub(super) const WIDTH: u32 = 200;
pub(super) const HEIGHT: u32 = 80;
/// Characters in one picture.
pub(super) const CHARS: usize = 5;
/// Pixels that the boxes of two neighbours have in common, at least and at most.
const OVERLAP: (f32, f32) = (3.0, 6.0);
/// Lines through the text.
const LINES: usize = 2;
/// Points of a line through the text.
const LINE_POINTS: u8 = 24;
const WHITE: u8 = 3;

/// SplitMix64. Nobody sees its numbers but in the shapes of letters.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn between(&mut self, (low, high): (f32, f32)) -> f32 {
        let part = u16::try_from(self.next() >> 48).unwrap_or(u16::MAX);
        low + (high - low) * f32::from(part) / f32::from(u16::MAX)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = usize::try_from(self.next() % all.len() as u64).unwrap_or(0);
        &all[at]
    }
}

/// A line through points, and half of its width.
struct Stroke {
    points: Vec<Point>,
    radius: f32,
}

/// A new text and its picture as PNG.
pub(super) fn draw(random: &mut Random) -> (String, Vec<u8>) {
    let letters: Vec<&Letter> = (0..CHARS).map(|_| random.one_of(&LETTERS)).collect();
    let mut strokes = Vec::new();
    let mut right = 0.0;
    for (at, letter) in letters.iter().enumerate() {
        let mut shape = shape(letter, random);
        let (left, _) = sides(&shape);
        let by = if at == 0 { -left } else { right - left - random.between(OVERLAP) };
        shift(&mut shape, by, 0.0);
        right = sides(&shape).1;
        strokes.append(&mut shape);
    }
    center(&mut strokes, random);
    for _ in 0..LINES {
        strokes.push(line_through(&strokes, random));
    }
    bend(&mut strokes, random);
    let text = letters.iter().map(|letter| letter.char).collect();
    (text, png::encode(WIDTH, HEIGHT, &paint(&strokes)))
}

/// A letter in a shape of its own, around the middle of the picture's height.
fn shape(letter: &Letter, random: &mut Random) -> Vec<Stroke> {
    let (width, height) = (random.between((26.0, 36.0)), random.between((38.0, 50.0)));
    let (slant, turn) = (random.between((-0.25, 0.25)), random.between((-0.25, 0.25)));
    let (lift, radius) = (random.between((-5.0, 5.0)), random.between((1.8, 2.9)));
    let rounded = random.between((0.0, 1.0)) < 0.6;
    let mut place = |(x, y): Point| {
        let (x, y) =
            ((x - 0.5) * width + random.between((-1.6, 1.6)), (y - 0.5) * height + random.between((-1.6, 1.6)));
        let x = x - y * slant;
        let (sin, cos) = turn.sin_cos();
        (x * cos - y * sin, x * sin + y * cos + lift)
    };
    let strokes = letter.strokes(rounded).into_iter();
    strokes.map(|points| Stroke { points: points.into_iter().map(&mut place).collect(), radius }).collect()
}

/// The least and the greatest column that the strokes' ink reaches.
fn sides(strokes: &[Stroke]) -> (f32, f32) {
    let reach =
        strokes.iter().flat_map(|stroke| stroke.points.iter().map(|(x, _)| (x - stroke.radius, x + stroke.radius)));
    reach.fold((f32::MAX, f32::MIN), |(least, most), (left, right)| (least.min(left), most.max(right)))
}

fn shift(strokes: &mut [Stroke], by_x: f32, by_y: f32) {
    for point in strokes.iter_mut().flat_map(|stroke| &mut stroke.points) {
        *point = (point.0 + by_x, point.1 + by_y);
    }
}

/// Brings the text to the middle of the picture, and makes it narrower if it does not fit.
fn center(strokes: &mut [Stroke], random: &mut Random) {
    let (left, right) = sides(strokes);
    let (width, room) = (right - left, WIDTH as f32 - 16.0);
    let scale = (room / width).min(1.0);
    let slack = (WIDTH as f32 - width * scale) / 2.0;
    let from = slack + random.between((-0.6, 0.6)) * (slack - 4.0).max(0.0);
    for point in strokes.iter_mut().flat_map(|stroke| &mut stroke.points) {
        *point = ((point.0 - left) * scale + from, point.1 + HEIGHT as f32 / 2.0);
    }
}

/// A bent line from the first letter to the last one.
fn line_through(strokes: &[Stroke], random: &mut Random) -> Stroke {
    let (left, right) = sides(strokes);
    let (from, to) = (random.between((20.0, 60.0)), random.between((20.0, 60.0)));
    let (height, waves, phase) =
        (random.between((4.0, 12.0)), random.between((0.5, 2.0)), random.between((0.0, std::f32::consts::TAU)));
    let point = |at: u8| {
        let part = f32::from(at) / f32::from(LINE_POINTS);
        let wave = (part * waves * std::f32::consts::TAU + phase).sin() * height;
        (left + (right - left) * part, from + (to - from) * part + wave)
    };
    Stroke { points: (0..=LINE_POINTS).map(point).collect(), radius: random.between((0.7, 1.1)) }
}

/// Bends the whole picture. Straight strokes get points to bend at.
fn bend(strokes: &mut [Stroke], random: &mut Random) {
    let (height, phase) = (random.between((2.0, 4.5)), random.between((0.0, std::f32::consts::TAU)));
    let length = random.between((60.0, 130.0));
    for stroke in strokes {
        let halves = stroke.points.windows(2).filter_map(|side| {
            let (a, b) = (side.first()?, side.last()?);
            Some([*a, ((a.0 + b.0) / 2.0, (a.1 + b.1) / 2.0)])
        });
        let points: Vec<Point> = halves.flatten().chain(stroke.points.last().copied()).collect();
        let wave = |(x, y): Point| (x, y + (x / length * std::f32::consts::TAU + phase).sin() * height);
        stroke.points = points.into_iter().map(wave).collect();
    }
}

/// The shade of every pixel, with soft edges.
fn paint(strokes: &[Stroke]) -> Vec<u8> {
    let mut shades = vec![WHITE; (WIDTH * HEIGHT) as usize];
    for stroke in strokes {
        for side in stroke.points.windows(2) {
            if let [a, b] = side {
                ink(&mut shades, (*a, *b), stroke.radius);
            }
        }
    }
    shades
}

/// Draws one straight piece of a stroke.
fn ink(shades: &mut [u8], (a, b): (Point, Point), radius: f32) {
    let reach = radius + 1.0;
    let (columns, rows) = (pixels(a.0, b.0, reach, WIDTH), pixels(a.1, b.1, reach, HEIGHT));
    for y in rows {
        for x in columns.clone() {
            // Ink reaches as far as the stroke's edge; half a pixel beyond it is grey.
            let depth = radius + 0.5 - distance((f32::from(x) + 0.5, f32::from(y) + 0.5), (a, b));
            let shade = match depth {
                depth if depth >= 1.0 => 0,
                depth if depth >= 0.66 => 1,
                depth if depth >= 0.33 => 2,
                _ => continue,
            };
            if let Some(pixel) = shades.get_mut(usize::from(y) * WIDTH as usize + usize::from(x)) {
                *pixel = shade.min(*pixel);
            }
        }
    }
}

/// The pixels of one direction that a stroke from `a` to `b` may reach.
#[expect(clippy::cast_possible_truncation, reason = "a picture has at most 200 pixels in a direction")]
fn pixels(a: f32, b: f32, reach: f32, end: u32) -> std::ops::Range<u16> {
    let pixel = |at: f32| at.clamp(0.0, end as f32) as u16;
    pixel((a.min(b) - reach).floor())..pixel((a.max(b) + reach).ceil())
}

/// How far a point is from a line between two points.
fn distance((x, y): Point, ((ax, ay), (bx, by)): (Point, Point)) -> f32 {
    let (dx, dy) = (bx - ax, by - ay);
    let length = dx * dx + dy * dy;
    let part = if length == 0.0 { 0.0 } else { (((x - ax) * dx + (y - ay) * dy) / length).clamp(0.0, 1.0) };
    let (from_x, from_y) = (x - ax - part * dx, y - ay - part * dy);
    (from_x * from_x + from_y * from_y).sqrt()
}

//! Renders captcha images on a thread of its own, because one image takes as long as a thousand requests.

mod drawing;
mod letters;
mod png;

use std::{io, sync::mpsc, thread};

use gateway_core::Control;
use tokio::sync::mpsc as mailbox;

use drawing::Random;

/// Images in one message to a core.
const BATCH_MAX: usize = 32;
/// A core's request for `count` images. A core has one outstanding at a time, which bounds the queue.
struct RenderJob {
    count: usize,
    to: mailbox::Sender<Control>,
}

/// The rendering thread. It ends when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct CaptchaRenderer(mpsc::Sender<RenderJob>);

/// One core's access to the renderer.
pub(crate) struct CaptchaHandle {
    renderer: CaptchaRenderer,
    to: mailbox::Sender<Control>,
}

impl CaptchaRenderer {
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, taken) = mpsc::channel::<RenderJob>();
        thread::Builder::new().name("captcha".to_owned()).spawn(move || {
            for job in taken {
                job.run();
            }
        })?;
        Ok(Self(jobs))
    }

    /// The access of the core whose mailbox is `to`.
    pub(crate) fn handle_for(&self, to: mailbox::Sender<Control>) -> CaptchaHandle {
        CaptchaHandle { renderer: self.clone(), to }
    }
}

impl CaptchaHandle {
    /// Requests images; they arrive as messages. Does not block.
    pub(crate) fn render(&self, count: usize) {
        // The thread runs for as long as there is a sender.
        drop(self.renderer.0.send(RenderJob { count, to: self.to.clone() }));
    }
}

impl RenderJob {
    fn run(self) {
        let mut left = self.count;
        while left > 0 {
            let batch: Vec<_> = (0..left.min(BATCH_MAX)).filter_map(|_| render_one()).collect();
            left -= left.min(BATCH_MAX);
            let ended = batch.is_empty();
            // The core has ended.
            if self.to.blocking_send(Control::Captchas(batch)).is_err() || ended {
                return;
            }
        }
        drop(self.to.blocking_send(Control::Captchas(Vec::new())));
    }
}

fn render_one() -> Option<gateway_core::Captcha> {
    let seed = match getrandom::u64() {
        Ok(seed) => seed,
        Err(error) => {
            tracing::error!(%error, "no randomness for a captcha image");
            return None;
        }
    };
    let (answer, image) = drawing::draw(&mut Random(seed));
    Some(gateway_core::Captcha { image: image.into(), answer })
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::{
        drawing::{CHARS, HEIGHT, WIDTH, draw},
        letters::LETTERS,
        *,
    };

    /// The pixels of a picture that this module wrote: 1 byte a row for the filter, 4 pixels a byte.
    fn pixels(image: &[u8]) -> Vec<Vec<u8>> {
        let at = image.windows(4).position(|name| name == b"IDAT").unwrap() + 4;
        let row = 1 + WIDTH as usize / 4;
        // Two bytes begin the stream, five the block.
        let rows = image[at + 7..].chunks(row).take(HEIGHT as usize);
        rows.map(|row| row[1..].iter().flat_map(|byte| [6, 4, 2, 0].map(|bits| byte >> bits & 3)).collect()).collect()
    }

    #[test]
    fn every_picture_is_another_and_its_answer_is_of_the_letters() {
        let (to, mut came) = mailbox::channel(4);
        let renderer = CaptchaRenderer::start().unwrap();
        renderer.handle_for(to).render(40);
        drop(renderer);
        let mut batches = Vec::new();
        while let Some(Control::Captchas(batch)) = came.blocking_recv() {
            batches.push(batch);
        }
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [32, 8, 0]);
        let pictures: Vec<_> = batches.into_iter().flatten().collect();
        assert_eq!(pictures.iter().map(|picture| &picture.image).collect::<HashSet<_>>().len(), 40);
        for picture in pictures {
            assert!(picture.image.starts_with(b"\x89PNG\r\n\x1a\n"));
            assert_eq!(picture.answer.len(), CHARS);
            let is_letter = |char| LETTERS.iter().any(|letter| letter.char == char);
            assert!(picture.answer.chars().all(is_letter), "{}", picture.answer);
        }
    }

    /// A program that cuts a text at empty columns, or into areas of ink, finds no letters.
    #[test]
    fn letters_touch() {
        for seed in 0..200 {
            let (answer, image) = draw(&mut Random(seed));
            let pixels = pixels(&image);
            let has_ink = |x: usize| pixels.iter().any(|row| row[x] < 3);
            let ink: Vec<usize> = (0..WIDTH as usize).filter(|x| has_ink(*x)).collect();
            let (first, last) = (ink[0], *ink.last().unwrap());
            assert_eq!(ink.len(), last - first + 1, "seed {seed}: {answer} has an empty column");
            assert!(last - first > 90 && first > 0 && last < WIDTH as usize - 1, "seed {seed}: {first} to {last}");
            let is_cut = [0, HEIGHT as usize - 1].iter().any(|row| pixels[*row].contains(&0));
            assert!(!is_cut, "seed {seed}: {answer} is cut off");
        }
    }

    /// Stored shapes of the letters recognise nothing.
    #[test]
    fn a_letter_never_has_the_same_shape() {
        let mut widths: HashMap<String, HashSet<usize>> = HashMap::new();
        for seed in 0..400 {
            let (answer, image) = draw(&mut Random(seed));
            let ink = pixels(&image).iter().flatten().filter(|shade| **shade == 0).count();
            widths.entry(answer[..1].to_owned()).or_default().insert(ink);
        }
        assert_eq!(widths.len(), LETTERS.len());
        assert!(widths.values().all(|inks| inks.len() > 3), "{widths:?}");
    }

    /// With `CAPTCHA_SAMPLES=directory`, writes pictures to look at.
    #[test]
    fn samples_are_readable() {
        let Ok(directory) = std::env::var("CAPTCHA_SAMPLES") else { return };
        for seed in 0..24 {
            let (answer, image) = draw(&mut Random(seed));
            std::fs::write(format!("{directory}/{seed:02}-{answer}.png"), image).unwrap();
        }
    }
}

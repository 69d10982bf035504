//! Renders captcha images on a thread of its own, because one image takes as long as a thousand requests.

use std::{io, sync::mpsc, thread};

use captcha::{
    Captcha,
    filters::{Dots, Noise, Wave},
};
use gateway_core::Control;
use tokio::sync::mpsc as mailbox;

/// Images in one message to a core.
const BATCH_MAX: usize = 32;
/// Characters in one image.
const CHARS: u32 = 5;
/// No two of them look alike, in upper or lower case.
const ALPHABET: &str = "ACDEFGHJKMNPQRTUVWXY";
const WIDTH: u32 = 200;
const HEIGHT: u32 = 80;

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
    let mut captcha = Captcha::new();
    let alphabet: Vec<char> = ALPHABET.chars().collect();
    captcha
        .set_chars(&alphabet)
        .add_chars(CHARS)
        .apply_filter(Noise::new(0.2))
        .apply_filter(Wave::new(2.0, 12.0).horizontal())
        .apply_filter(Wave::new(2.0, 10.0).vertical())
        .view(WIDTH, HEIGHT)
        .apply_filter(Dots::new(8).max_radius(6));
    let rendered = captcha.as_tuple();
    if rendered.is_none() {
        tracing::error!("a captcha image could not be encoded");
    }
    let (answer, image) = rendered?;
    Some(gateway_core::Captcha { image: image.into(), answer })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_picture_is_another_and_says_its_answer_in_the_alphabet() {
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
            // The first chunk of a PNG tells its size (RFC 2083 section 4.1.1).
            let size =
                picture.image[16..24].chunks(4).map(|side| side.iter().fold(0, |n, byte| n << 8 | u32::from(*byte)));
            assert_eq!(size.collect::<Vec<_>>(), [WIDTH, HEIGHT]);
            assert_eq!(picture.answer.len(), CHARS as usize);
            assert!(picture.answer.chars().all(|letter| ALPHABET.contains(letter)), "{}", picture.answer);
        }
    }
}

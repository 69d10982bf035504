//! A second index, and the thread that fills it.

use std::sync::Arc;

use search::{IndexError, Position, Rebuild, SearchIndex};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
};
use workers::WorkerError;

use super::{Search, failed};

type Work = Box<dyn FnOnce(&mut dyn Rebuild) + Send>;

enum Job {
    Work(Work),
    Finish(Option<Position>, oneshot::Sender<Result<(), IndexError>>),
}

/// An index in the making, on a thread of its own. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct SecondIndex {
    jobs: mpsc::Sender<Job>,
}

impl SecondIndex {
    pub(super) async fn begin(search: &Search) -> Result<Self, WorkerError> {
        let index = Arc::clone(&search.index);
        let ((jobs, waiting), (begun, has_begun)) = (mpsc::channel(1), oneshot::channel());
        drop(spawn_blocking(move || serve(&*index, begun, waiting)));
        has_begun.await.map_err(|_| ended())?.map_err(failed)?;
        Ok(Self { jobs })
    }

    /// Passes the index to `work`.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Rebuild) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, WorkerError> {
        let (done, result) = oneshot::channel();
        let work: Work = Box::new(move |rebuild| {
            // A caller that has gone away does not need the result.
            let (Ok(()) | Err(_)) = done.send(work(rebuild));
        });
        self.jobs.send(Job::Work(work)).await.map_err(|_| ended())?;
        result.await.map_err(|_| ended())?.map_err(failed)
    }

    /// Puts it in the place of the first index.
    pub(super) async fn finish(self, position: Option<Position>) -> Result<(), WorkerError> {
        let (done, result) = oneshot::channel();
        self.jobs.send(Job::Finish(position, done)).await.map_err(|_| ended())?;
        result.await.map_err(|_| ended())?.map_err(failed)
    }
}

fn serve(index: &dyn SearchIndex, begun: oneshot::Sender<Result<(), IndexError>>, mut jobs: mpsc::Receiver<Job>) {
    let mut rebuild = match index.rebuild() {
        Ok(rebuild) => rebuild,
        Err(error) => {
            let (Ok(()) | Err(_)) = begun.send(Err(error));
            return;
        }
    };
    if begun.send(Ok(())).is_err() {
        return;
    }
    while let Some(job) = jobs.blocking_recv() {
        match job {
            Job::Work(work) => work(rebuild.as_mut()),
            Job::Finish(position, done) => {
                let (Ok(()) | Err(_)) = done.send(rebuild.finish(position.as_ref()));
                return;
            }
        }
    }
}

fn ended() -> WorkerError {
    WorkerError::Search("the thread that builds the search index has ended".to_owned())
}

//! Pictures as files in a directory.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::{
    fs::{self, File},
    io::{AsyncReadExt as _, AsyncWriteExt as _},
};

use crate::{ImageId, ImagesError};

/// What is read of a file at a time, in bytes.
const CHUNK: usize = 64 * 1024;
/// Where files are while they are written. It is on the same file system, so a rename moves them.
const PARTIAL: &str = ".partial";

#[derive(Debug, Clone)]
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn open(directory: &Path) -> Result<Self, ImagesError> {
        std::fs::create_dir_all(directory.join(PARTIAL)).map_err(|error| failed(directory, &error))?;
        Ok(Self(directory.to_owned()))
    }

    /// Writes the file beside and renames it, so that no reader sees a part of it and it is on the disk afterwards.
    pub(crate) async fn write(&self, id: ImageId, bytes: &[u8]) -> Result<(), ImagesError> {
        let (partial, path) = (self.0.join(PARTIAL).join(id.to_string()), self.0.join(id.to_string()));
        let write = async {
            let mut file = File::create_new(&partial).await?;
            file.write_all(bytes).await?;
            file.sync_all().await?;
            fs::rename(&partial, &path).await?;
            File::open(&self.0).await?.sync_all().await
        };
        let Err(error) = write.await else { return Ok(()) };
        // Nothing refers to what is left of it; the next write has another id.
        fs::remove_file(&partial).await.ok();
        Err(failed(&path, &error))
    }

    pub(crate) async fn length(&self, id: ImageId) -> Result<Option<u64>, ImagesError> {
        let path = self.0.join(id.to_string());
        match fs::metadata(&path).await {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, &error)),
        }
    }

    /// The first `length` bytes of a file.
    pub(crate) async fn read(
        &self,
        id: ImageId,
        length: u64,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + Unpin + use<>, ImagesError> {
        let path = self.0.join(id.to_string());
        let file = File::open(&path).await.map_err(|error| failed(&path, &error))?;
        Ok(Box::pin(stream::try_unfold(file.take(length), async |mut file| {
            let mut chunk = Vec::with_capacity(CHUNK);
            let read = file.read_buf(&mut chunk).await?;
            Ok((read > 0).then(|| (Bytes::from(chunk), file)))
        })))
    }
}

fn failed(path: &Path, error: &io::Error) -> ImagesError {
    ImagesError(format!("{}: {error}", path.display()))
}

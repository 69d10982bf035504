//! Pictures of products: what is taken, where it is kept, and its addresses.
#![forbid(unsafe_code)]

mod id;
mod picture;
#[cfg(test)]
mod tests;
mod transport;

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use foundation::config::{ImagesConfig, OssConfig};
use futures_util::Stream;
use opendal::{ErrorKind, HttpTransporter, OperationContext, Operator, services};
use tokio::sync::{Semaphore, SemaphorePermit};

pub use id::{ImageId, InvalidImageId, Kind};
pub use picture::{BYTES_MAX, NotTaken, PIXELS_MAX, SIDE_MAX};

/// Pictures that are taken in at once; each is in memory meanwhile.
const UPLOADS_MAX: usize = 8;
/// How long a signed address is good.
const SIGNED_FOR: Duration = Duration::from_secs(3600);
/// A redirect to it may be kept so long; it is good for long enough after that.
pub const REDIRECT_FRESH: Duration = Duration::from_secs(1800);
/// What is read of a file at a time, in bytes.
const CHUNK: usize = 64 * 1024;

/// Where pictures are kept did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("pictures: {0}")]
pub struct ImagesError(String);

impl From<opendal::Error> for ImagesError {
    fn from(error: opendal::Error) -> Self {
        Self(error.to_string())
    }
}

/// Why a picture was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// It is none that the shop shows.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// It could not be kept.
    #[error(transparent)]
    Failed(#[from] ImagesError),
}

/// Where a picture is to be had.
pub enum Found {
    /// Here: how many bytes, and they.
    Here(u64, Box<dyn Stream<Item = std::io::Result<Bytes>> + Send + Unpin>),
    /// At this address, for a while.
    At(String),
}

/// The pictures: files in a directory, or objects in a bucket of Aliyun OSS. Clones are the same pictures.
#[derive(Clone)]
pub struct Images {
    operator: Operator,
    /// Files are served by the shop, objects by OSS itself.
    signs: bool,
    public_url: Arc<str>,
    uploads: Arc<Semaphore>,
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Images").field("signs", &self.signs).finish_non_exhaustive()
    }
}

impl Images {
    /// The pictures that `config` names, else those in `directory`; order-core serves them at `public_url`.
    ///
    /// # Errors
    /// Where they can't be kept so.
    pub fn open(config: &ImagesConfig, directory: &Path, public_url: &str) -> Result<Self, ImagesError> {
        let operator = match &config.oss {
            Some(oss) => in_oss(oss)?,
            None => in_files(directory)?,
        };
        let (public_url, uploads) = (public_url.into(), Arc::new(Semaphore::new(UPLOADS_MAX)));
        Ok(Self { operator, signs: config.oss.is_some(), public_url, uploads })
    }

    /// Room for one more picture in memory; `None` where as many as may be are being added.
    pub fn room(&self) -> Option<Room<'_>> {
        let permit = self.uploads.try_acquire().ok()?;
        Some(Room { images: self, _permit: permit })
    }

    async fn add(&self, bytes: Vec<u8>) -> Result<ImageId, AddError> {
        let kind = picture::kind(&bytes)?;
        let id = ImageId::random(kind).map_err(|error| ImagesError(error.to_string()))?;
        let path = id.to_string();
        let write = self.operator.write_with(&path, bytes).content_type(kind.content_type());
        write.await.map_err(ImagesError::from)?;
        Ok(id)
    }

    /// Whether there is such a picture.
    ///
    /// # Errors
    /// Where it can't be told now.
    pub async fn exists(&self, id: ImageId) -> Result<bool, ImagesError> {
        Ok(self.operator.exists(&id.to_string()).await?)
    }

    /// Where a picture is to be had; `None` where there is none.
    ///
    /// # Errors
    /// Where it can't be told now.
    pub async fn find(&self, id: ImageId) -> Result<Option<Found>, ImagesError> {
        let path = id.to_string();
        if self.signs {
            // Signing asks nobody: of a picture that is not there OSS says so.
            let signed = self.operator.presign_read(&path, SIGNED_FOR).await?;
            return Ok(Some(Found::At(signed.uri().to_string())));
        }
        let length = match self.operator.stat(&path).await {
            Ok(metadata) => metadata.content_length(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let reader = self.operator.reader_with(&path).chunk(CHUNK).await?;
        let chunks = reader.into_bytes_stream(0..length).await?;
        Ok(Some(Found::Here(length, Box::new(chunks))))
    }

    /// Where browsers find a picture.
    pub fn url(&self, id: ImageId) -> String {
        format!("{}/images/{id}", self.public_url)
    }

    /// The addresses of those of `ids` that are ids.
    pub fn urls(&self, ids: &[String]) -> Vec<String> {
        ids.iter().filter_map(|id| id.parse().ok()).map(|id| self.url(id)).collect()
    }
}

/// Room for one picture.
#[derive(Debug)]
pub struct Room<'a> {
    images: &'a Images,
    _permit: SemaphorePermit<'a>,
}

impl Room<'_> {
    /// Keeps a picture under a new random id.
    ///
    /// # Errors
    /// See [`AddError`].
    pub async fn add(self, bytes: Vec<u8>) -> Result<ImageId, AddError> {
        self.images.add(bytes).await
    }
}

fn in_files(directory: &Path) -> Result<Operator, ImagesError> {
    let path = |path: &Path| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| ImagesError(format!("{}: the path is not UTF-8", path.display())))
    };
    // Written beside and renamed: whoever reads sees all of a picture or none.
    let files = services::Fs::default().root(&path(directory)?).atomic_write_dir(&path(&directory.join(".partial"))?);
    Ok(Operator::new(files)?)
}

fn in_oss(oss: &OssConfig) -> Result<Operator, ImagesError> {
    let service = services::Oss::default()
        .endpoint(&oss.endpoint)
        .bucket(&oss.bucket)
        .access_key_id(&oss.access_key_id)
        .access_key_secret(oss.access_key_secret.expose());
    let context = OperationContext::new().with_http_transport(HttpTransporter::new(transport::Transport::new()));
    Ok(Operator::new(service)?.with_context(context))
}

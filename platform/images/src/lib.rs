//! Pictures of products: what is taken, where it is kept, and its addresses.
#![forbid(unsafe_code)]

mod clean;
mod files;
mod id;
#[cfg(feature = "oss")]
mod oss;
mod picture;
#[cfg(test)]
#[cfg(feature = "oss")]
mod tests;
#[cfg(feature = "oss")]
mod transport;

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use files::Files;
use foundation::config::ImagesConfig;
use futures_util::Stream;
use tokio::sync::{Semaphore, SemaphorePermit};

#[cfg(feature = "oss")]
use oss::Bucket;

pub use id::{ImageId, InvalidImageId, Kind};
pub use picture::{BYTES_MAX, NotTaken, PIXELS_MAX, SIDE_MAX};

/// Pictures that are taken in at once; each is in memory meanwhile.
const UPLOADS_MAX: usize = 8;
/// How long caches may keep a redirect to a signed address, which stays valid long enough after that.
pub const REDIRECT_FRESH: Duration = Duration::from_secs(1800);

/// Where pictures are kept did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("pictures: {0}")]
pub struct ImagesError(String);

/// Why a picture was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// It is not a format that the shop shows.
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
#[derive(Debug, Clone)]
pub struct Images {
    place: Place,
    public_url: Arc<str>,
    uploads: Arc<Semaphore>,
}

/// Files are served by the shop, objects by OSS itself.
#[derive(Debug, Clone)]
enum Place {
    Files(Files),
    #[cfg(feature = "oss")]
    Bucket(Bucket),
}

impl Images {
    /// The pictures that `config` names, else those in `directory`; order-core serves them at `public_url`.
    ///
    /// # Errors
    /// If they can't be kept so.
    pub fn open(config: &ImagesConfig, directory: &Path, public_url: &str) -> Result<Self, ImagesError> {
        let place = match &config.oss {
            #[cfg(feature = "oss")]
            Some(oss) => Place::Bucket(Bucket::open(oss)?),
            #[cfg(not(feature = "oss"))]
            Some(_) => {
                return Err(ImagesError(
                    "images.oss_bucket: this build can't reach OSS; build it with --features kafka".to_owned(),
                ));
            }
            None => Place::Files(Files::open(directory)?),
        };
        let (public_url, uploads) = (public_url.into(), Arc::new(Semaphore::new(UPLOADS_MAX)));
        Ok(Self { place, public_url, uploads })
    }

    /// Room for one more picture in memory; `None` where as many as may be are being added.
    pub fn room(&self) -> Option<Room<'_>> {
        let permit = self.uploads.try_acquire().ok()?;
        Some(Room { images: self, _permit: permit })
    }

    async fn add(&self, bytes: Vec<u8>) -> Result<ImageId, AddError> {
        let kind = picture::kind(&bytes)?;
        let bytes = clean::cleaned(kind, &bytes)?;
        let id = ImageId::random(kind).map_err(|error| ImagesError(error.to_string()))?;
        match &self.place {
            Place::Files(files) => files.write(id, &bytes).await?,
            #[cfg(feature = "oss")]
            Place::Bucket(bucket) => bucket.write(id, kind, bytes).await?,
        }
        Ok(id)
    }

    /// Whether there is such a picture.
    ///
    /// # Errors
    /// If the store can't be reached.
    pub async fn exists(&self, id: ImageId) -> Result<bool, ImagesError> {
        match &self.place {
            Place::Files(files) => Ok(files.length(id).await?.is_some()),
            #[cfg(feature = "oss")]
            Place::Bucket(bucket) => bucket.exists(id).await,
        }
    }

    /// The address of a picture; `None` if there is no such picture.
    ///
    /// # Errors
    /// If the store can't be reached.
    pub async fn find(&self, id: ImageId) -> Result<Option<Found>, ImagesError> {
        #[cfg_attr(
            not(feature = "oss"),
            expect(clippy::infallible_destructuring_match, reason = "there is another place with it")
        )]
        let files = match &self.place {
            Place::Files(files) => files,
            #[cfg(feature = "oss")]
            Place::Bucket(bucket) => return Ok(Some(Found::At(bucket.address(id).await?))),
        };
        let Some(length) = files.length(id).await? else { return Ok(None) };
        Ok(Some(Found::Here(length, Box::new(files.read(id, length).await?))))
    }

    /// Where browsers find a picture.
    pub fn url(&self, id: ImageId) -> String {
        format!("{}/images/{id}", self.public_url)
    }

    /// Those of `ids` that are ids, as [`Images::urls`] has them.
    pub fn ids<'a>(&self, ids: &'a [String]) -> impl Iterator<Item = &'a String> {
        ids.iter().filter(|id| id.parse::<ImageId>().is_ok())
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

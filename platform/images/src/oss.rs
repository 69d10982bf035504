//! Pictures as objects in a bucket of Aliyun OSS.

use std::time::Duration;

use foundation::config::OssConfig;
use opendal::{HttpTransporter, OperationContext, Operator, services};

use crate::{ImageId, ImagesError, Kind, transport::Transport};

/// How long a signed address is good.
pub(crate) const SIGNED_FOR: Duration = Duration::from_secs(3600);

impl From<opendal::Error> for ImagesError {
    fn from(error: opendal::Error) -> Self {
        Self(error.to_string())
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Bucket(pub(crate) Operator);

impl Bucket {
    pub(crate) fn open(oss: &OssConfig) -> Result<Self, ImagesError> {
        let service = services::Oss::default()
            .endpoint(&oss.endpoint)
            .bucket(&oss.bucket)
            .access_key_id(&oss.access_key_id)
            .access_key_secret(oss.access_key_secret.expose());
        let context = OperationContext::new().with_http_transport(HttpTransporter::new(Transport::new()));
        Ok(Self(Operator::new(service)?.with_context(context)))
    }

    pub(crate) async fn write(&self, id: ImageId, kind: Kind, bytes: Vec<u8>) -> Result<(), ImagesError> {
        self.0.write_with(&id.to_string(), bytes).content_type(kind.content_type()).await?;
        Ok(())
    }

    pub(crate) async fn exists(&self, id: ImageId) -> Result<bool, ImagesError> {
        Ok(self.0.exists(&id.to_string()).await?)
    }

    /// An address at which a browser finds the picture for a while. Signing asks nobody: OSS itself says where there
    /// is no such picture.
    pub(crate) async fn address(&self, id: ImageId) -> Result<String, ImagesError> {
        Ok(self.0.presign_read(&id.to_string(), SIGNED_FOR).await?.uri().to_string())
    }
}

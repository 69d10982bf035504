//! Section `images`.

use super::{Check, Secret, raw};

/// Where pictures are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagesConfig {
    /// A bucket of Aliyun OSS; `None` keeps them in the data directory.
    pub oss: Option<OssConfig>,
}

/// A bucket of Aliyun OSS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OssConfig {
    /// `https://oss-cn-hangzhou.aliyuncs.com` and such.
    pub endpoint: String,
    /// The bucket's name.
    pub bucket: String,
    /// Whose the key is.
    pub access_key_id: String,
    /// Signs requests and addresses.
    pub access_key_secret: Secret,
}

impl Check {
    pub(super) fn images(&mut self, raw: raw::Images) -> ImagesConfig {
        let endpoint = self.url("images.oss_endpoint", raw.oss_endpoint, &["https", "http"]);
        self.https("images.oss_endpoint", endpoint.as_ref());
        let oss = match (endpoint, raw.oss_bucket, raw.oss_access_key_id, raw.oss_access_key_secret) {
            (None, None, None, None) => None,
            (Some(endpoint), Some(bucket), Some(access_key_id), Some(secret)) => {
                let (endpoint, access_key_secret) = (endpoint.expose().to_owned(), Secret::new(secret));
                Some(OssConfig { endpoint, bucket, access_key_id, access_key_secret })
            }
            _ => {
                let rest = "oss_bucket, oss_access_key_id and oss_access_key_secret";
                self.fault("images.oss_endpoint", &format!("it goes together with {rest}: all of them, or none"));
                None
            }
        };
        ImagesConfig { oss }
    }
}

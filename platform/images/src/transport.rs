//! HTTP for opendal by the client that the mall has anyway.

use std::{io::Read, time::Duration};

use futures_util::stream;
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};
use ureq::{
    Agent,
    http::{Request, Response},
};

/// How long OSS may take for one request.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The longest answer that is read; pictures are fetched by browsers, not here.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

pub(crate) struct Transport(Agent);

impl Transport {
    pub(crate) fn new() -> Self {
        // Another part of the process may have installed the same one before.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_MAX));
        Self(config.build().new_agent())
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>, Error> {
        let agent = self.0.clone();
        let ask = move || -> Result<Response<Vec<u8>>, ureq::Error> {
            let (parts, mut body) = agent.run(request.map(|body| body.to_vec()))?.into_parts();
            let mut bytes = Vec::new();
            body.as_reader().take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(Response::from_parts(parts, bytes))
        };
        let failed = |error: String| Error::new(ErrorKind::Unexpected, error).set_temporary();
        let answered = tokio::task::spawn_blocking(ask).await.map_err(|error| failed(error.to_string()))?;
        let answer = answered.map_err(|error| failed(error.to_string()))?;
        Ok(answer.map(|bytes| HttpBody::new(stream::iter([Ok(Buffer::from(bytes))]), None)))
    }
}

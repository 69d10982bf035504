//! The floor beneath: hyper, which reads a request and says the same bytes to everybody.

use std::{convert::Infallible, net::SocketAddr};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// As long as what a gateway says to an accepted reservation.
const BODY: &str =
    r#"{"order_id":"4611686018427387904","activity_id":"4611686018427387904","quantity":1,"status":"queued"}"#;

/// Serves at `listen` on this thread until the process is ended.
pub(crate) fn run(listen: SocketAddr) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.map_err(|error| error.to_string())?.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        tokio::task::LocalSet::new().run_until(serve(listener)).await
    });
    served.map_err(|error| format!("{listen}: {error}"))
}

async fn serve(listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            let mut http = http1::Builder::new();
            http.pipeline_flush(true);
            // A client that goes away in the middle is no error.
            drop(http.serve_connection(TokioIo::new(stream), service_fn(hello)).await);
        });
    }
}

async fn hello(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    while let Some(Ok(_)) = request.body_mut().frame().await {}
    let mut response = Response::new(Full::new(Bytes::from_static(BODY.as_bytes())));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}

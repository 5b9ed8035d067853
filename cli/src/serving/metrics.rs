//! Figures for Prometheus, by HTTP.

use crate::failure::Failure;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use llm_wasi_host::{Metrics, Registry};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What OpenMetrics calls its text.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves until it is dropped.
pub(crate) struct Server {
    _running: oneshot::Sender<()>,
}

/// Serves a registry's figures at this address, on a thread of its own.
pub(crate) fn serve(address: SocketAddr, registry: &Registry) -> Result<Server, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(format!("cannot serve figures at {address}: {error}"))
            .expected("an address of this machine with a free port")
            .next_step("choose another one for --metrics, such as 127.0.0.1:0")
    };
    let metrics = registry.metrics().clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let listener = runtime
        .block_on(TcpListener::bind(address))
        .map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tracing::info!("figures at http://{bound}/metrics");
    let (running, end) = oneshot::channel();
    std::thread::Builder::new()
        .name("metrics".into())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, metrics) => {}
                    _ = end => {}
                }
            });
        })
        .map_err(failed)?;
    Ok(Server { _running: running })
}

async fn accept(listener: TcpListener, metrics: Metrics) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Such as too many open files: it may pass.
                tracing::debug!("a client of the figures was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = answer(&request, &metrics);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!("a client of the figures: {error}");
            }
        });
    }
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, metrics.encode()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "expected GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "expected /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    if status == StatusCode::OK {
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    }
    response
}

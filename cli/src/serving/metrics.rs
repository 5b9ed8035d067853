//! Figures for Prometheus, by HTTP.

use crate::failure::Failure;
use crate::text::note;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use llm_wasi_host::{Metrics, Registry};
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

/// What OpenMetrics calls its text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What Prometheus calls its own.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How long a client may take from its first byte to its last: it asks one thing, and the answer is short.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many clients are served at once. Others wait in the system's queue, and take nothing from the programs.
const CLIENTS: usize = 16;

/// A host, by name or number, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(String);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once(':');
        let whole = parts.is_some_and(|(host, port)| {
            let bare = host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'));
            let host = bare.unwrap_or(host);
            !host.is_empty()
                && (bare.is_some() || !host.contains(':'))
                && port.parse::<u16>().is_ok()
        });
        if whole {
            return Ok(Self(text.to_owned()));
        }
        Err("expected HOST:PORT, such as 127.0.0.1:9464, localhost:9464 or [::1]:9464; port 0 is a free one".to_owned())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Serves until it is dropped.
pub(crate) struct Server {
    _running: oneshot::Sender<()>,
}

/// Serves a registry's figures at this address, on a thread of its own.
pub(crate) fn serve(address: &Address, registry: &Registry) -> Result<Server, Failure> {
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
        .block_on(TcpListener::bind(&address.0))
        .map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    note("figures:", &format!("http://{bound}/metrics"));
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
    let places = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
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
            let _place = place;
            let service = service_fn(move |request| {
                let response = answer(&request, &metrics);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .keep_alive(false)
                // The whole connection has its time.
                .header_read_timeout(None)
                .serve_connection(TokioIo::new(stream), service);
            match tokio::time::timeout(PATIENCE, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!("a client of the figures: {error}"),
                Err(_) => tracing::debug!("a client of the figures took longer than {PATIENCE:?}"),
            }
        });
    }
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, text, header) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            let (text, of) = match wants_open_metrics(request.headers().get(ACCEPT)) {
                true => (metrics.encode(), OPEN_METRICS),
                false => (metrics.encode_prometheus(), PROMETHEUS),
            };
            (StatusCode::OK, text, Some((CONTENT_TYPE, of)))
        }
        (_, "/metrics") => (
            StatusCode::METHOD_NOT_ALLOWED,
            "expected GET\n".to_owned(),
            Some((ALLOW, "GET, HEAD")),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            "expected /metrics\n".to_owned(),
            None,
        ),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    if let Some((name, value)) = header {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Prometheus names OpenMetrics before plain text; who names plain text alone gets that.
fn wants_open_metrics(accept: Option<&HeaderValue>) -> bool {
    let accept = accept.and_then(|accept| accept.to_str().ok());
    accept.is_none_or(|accept| {
        accept.contains("application/openmetrics-text") || !accept.contains("text/plain")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for right in ["127.0.0.1:9464", "localhost:0", "[::1]:1", "0.0.0.0:65535"] {
            assert_eq!(right.parse::<Address>().unwrap().to_string(), right);
        }
        for wrong in [
            "9464",
            ":9464",
            "localhost",
            "a:",
            "a:65536",
            "::1:1",
            "[]:1",
        ] {
            let error = wrong.parse::<Address>().unwrap_err();
            assert!(error.contains("such as 127.0.0.1:9464"), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        let wants =
            |accept: &'static str| wants_open_metrics(Some(&HeaderValue::from_static(accept)));
        assert!(wants_open_metrics(None));
        assert!(wants("*/*"));
        assert!(wants(
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"
        ));
        assert!(!wants("text/plain; version=0.0.4"));
    }
}

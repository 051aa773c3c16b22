//! Requests as they come over the connection: what they are called, who sends them, and what goes wrong with them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::Body;
use s3s::auth::{S3Auth, SecretKey};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::account;
use super::bucket::Bucket;
use super::faults::{Answer, Fate, S3Faults};
use super::operations::Memory;

/// Longer than any test waits.
const SILENCE: Duration = Duration::from_secs(600);

/// Everything there is.
#[derive(Debug, Default)]
pub(super) struct Inside {
    pub(super) buckets: BTreeMap<String, Bucket>,
    pub(super) faults: S3Faults,
    pub(super) calls: Vec<String>,
}

pub(super) type Shared = Arc<Mutex<Inside>>;

struct Keys;

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match account(access_key) {
            Some((_, secret)) => Ok(SecretKey::from(secret)),
            None => {
                Err(s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records."))
            }
        }
    }
}

/// Serves until told to stop.
pub(super) fn run(listener: std::net::TcpListener, shared: &Shared, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut builder = S3ServiceBuilder::new(Memory(Arc::clone(shared)));
    builder.set_auth(Keys);
    let service = builder.build();
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("a listener");
        let serving = async {
            while let Ok((stream, _)) = listener.accept().await {
                let (service, shared) = (service.clone(), Arc::clone(shared));
                let answer = service_fn(move |request| answer(request, service.clone(), Arc::clone(&shared)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        };
        tokio::select! {
            () = serving => {}
            _ = stopped => {}
        }
    });
}

/// An error resets the connection: there is no answer.
async fn answer(request: Request<Incoming>, service: S3Service, shared: Shared) -> io::Result<Response<Body>> {
    let name = name(request.method(), request.uri());
    let is_conditional = ["if-match", "if-none-match"].iter().any(|header| request.headers().contains_key(*header))
        && *request.method() != Method::GET;
    let fate = {
        let mut inside = shared.lock().unwrap_or_else(PoisonError::into_inner);
        inside.calls.push(name.to_owned());
        inside.faults.fate(name, is_conditional)
    };
    let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
    match fate {
        Fate::Reset => return Err(reset()),
        Fate::Silence => {
            tokio::time::sleep(SILENCE).await;
            return Err(reset());
        }
        Fate::Answer(answer) => {
            // Who is still sending would otherwise find the connection closed, and no answer.
            let mut body = request.into_body();
            while let Some(Ok(_)) = body.frame().await {}
            return Ok(thought_of(&answer));
        }
        Fate::Done | Fate::DoneAndLost => {}
    }
    let response = if name == "GetCallerIdentity" {
        let no_accounts = shared.lock().unwrap_or_else(PoisonError::into_inner).faults.no_accounts;
        identity(request.headers(), no_accounts)
    } else {
        service.call(request.map(Body::from)).await.map_err(io::Error::other)?
    };
    if matches!(fate, Fate::DoneAndLost) { Err(reset()) } else { Ok(response) }
}

fn thought_of(answer: &Answer) -> Response<Body> {
    let Answer { to, status, code, message, headers } = answer;
    let error = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    let body = if to == "GetCallerIdentity" { format!("<ErrorResponse>{error}</ErrorResponse>") } else { error };
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    xml(*status, headers, body)
}

fn xml<'a>(status: u16, headers: impl IntoIterator<Item = (&'a str, &'a str)>, body: String) -> Response<Body> {
    let mut builder = Response::builder().status(status).header("content-type", "application/xml");
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    builder.body(Body::from(body)).unwrap_or_else(|error| never(&error))
}

fn never(error: &http::Error) -> Response<Body> {
    panic!("a test thought of an impossible answer: {error}")
}

/// What STS says. It does not look at signatures.
fn identity(headers: &HeaderMap, no_accounts: bool) -> Response<Body> {
    if no_accounts {
        return thought_of(&Answer::new("", 405, "MethodNotAllowed", "The specified method is not allowed."));
    }
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = authorization.split("Credential=").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let Some((account, _)) = account(key) else {
        let sentence = "The security token included in the request is invalid.";
        return thought_of(&Answer::new("GetCallerIdentity", 403, "InvalidClientTokenId", sentence));
    };
    let body = format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>arn:aws:iam::{account}:user/ada</Arn><UserId>AIDA</UserId><Account>{account}</Account>\
         </GetCallerIdentityResult></GetCallerIdentityResponse>"
    );
    xml(200, [], body)
}

/// What a request is called in the documentation, by its method, path and query.
fn name(method: &Method, uri: &Uri) -> &'static str {
    let query = uri.query().unwrap_or_default();
    let has = |key: &str| query.split('&').any(|pair| pair.split('=').next() == Some(key));
    let mut segments = uri.path().split('/').filter(|segment| !segment.is_empty());
    let has_bucket = segments.next().is_some();
    let has_key = segments.next().is_some();
    match (method.as_str(), has_bucket, has_key) {
        ("POST", false, _) => "GetCallerIdentity",
        ("PUT", true, false) if has("versioning") => "PutBucketVersioning",
        ("PUT", true, false) if has("publicAccessBlock") => "PutPublicAccessBlock",
        ("PUT", true, false) if has("policy") => "PutBucketPolicy",
        ("DELETE", true, false) if has("policy") => "DeleteBucketPolicy",
        ("PUT", true, false) if has("lifecycle") => "PutBucketLifecycleConfiguration",
        ("PUT", true, false) => "CreateBucket",
        ("GET", true, false) if has("versions") => "ListObjectVersions",
        ("GET", true, false) => "ListObjectsV2",
        ("PUT", true, true) if has("uploadId") => "UploadPart",
        ("PUT", true, true) => "PutObject",
        ("GET", true, true) => "GetObject",
        ("POST", true, true) if has("uploads") => "CreateMultipartUpload",
        ("POST", true, true) => "CompleteMultipartUpload",
        ("DELETE", true, true) if has("uploadId") => "AbortMultipartUpload",
        ("DELETE", true, true) => "DeleteObject",
        _ => "SomethingElse",
    }
}

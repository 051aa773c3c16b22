//! A store on loopback that speaks the real protocol of S3, and the question of STS who one is. It keeps everything
//! in memory, does one thing at a time, and goes wrong as it is told to.
//!
//! Not promised: more of S3 than this project uses; a request for something else is answered 501.

mod bucket;
mod faults;
mod operations;
mod policy;
mod service;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::oneshot;

pub use faults::{Answer, S3Faults};

use bucket::Bucket;
use service::Inside;

/// The account of [`S3Server::KEY`].
const ACCOUNT: &str = "123456789012";
const OTHER_ACCOUNT: &str = "210987654321";

/// The server. It ends when this is dropped.
pub struct S3Server {
    address: SocketAddr,
    inside: Arc<Mutex<Inside>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A key: its id and its secret.
#[derive(Debug, Clone, Copy)]
pub struct S3Key {
    /// The id.
    pub id: &'static str,
    /// The secret.
    pub secret: &'static str,
}

/// A bucket as it is now.
#[derive(Debug, Clone)]
pub struct S3Bucket {
    /// Where it was made; empty where that was not said.
    pub region: String,
    /// Whether versions are kept.
    pub is_versioned: bool,
    /// Whether all of public access is blocked.
    pub is_private: bool,
    /// Its policy; empty where it has none.
    pub policy: String,
    /// The names of the rules of its lifecycle.
    pub lifecycle: Vec<String>,
    /// The keys of its objects.
    pub keys: Vec<String>,
    /// How many uploads in parts nobody completed or aborted.
    pub unfinished_uploads: usize,
}

impl S3Server {
    /// Who owns the account that tests use.
    pub const KEY: S3Key = S3Key { id: "AKIAJECLOUDTESTS0001", secret: "a-secret-that-nobody-may-ever-read" };

    /// Somebody else.
    pub const OTHER_KEY: S3Key = S3Key { id: "AKIASOMEBODYELSE0001", secret: "the-secret-of-somebody-else" };

    /// Starts one, on a free port.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn start() -> Self {
        let inside = Arc::new(Mutex::new(Inside::default()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&inside);
        let thread = std::thread::spawn(move || service::run(listener, &shared, stopped));
        Self { address, inside, stop: Some(stop), thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what goes wrong from now on.
    pub fn faults<T>(&self, change: impl FnOnce(&mut S3Faults) -> T) -> T {
        change(&mut self.inside().faults)
    }

    /// The names of all requests so far, also of those that were not answered: `PutObject`.
    pub fn calls(&self) -> Vec<String> {
        self.inside().calls.clone()
    }

    /// The names of all buckets.
    pub fn bucket_names(&self) -> Vec<String> {
        self.inside().buckets.keys().cloned().collect()
    }

    /// A bucket; none where there is none.
    pub fn bucket(&self, name: &str) -> Option<S3Bucket> {
        self.inside().buckets.get(name).map(Bucket::describe)
    }

    /// All contents that an object ever had, the oldest first, without deletions.
    pub fn contents(&self, bucket: &str, key: &str) -> Vec<Bytes> {
        self.inside().buckets.get(bucket).map(|bucket| bucket.contents(key)).unwrap_or_default()
    }

    /// Puts something there as somebody does who has a browser; without contents, deletes it.
    ///
    /// # Panics
    ///
    /// Where there is no such bucket.
    pub fn write_by_hand(&self, bucket: &str, key: &str, contents: Option<&str>) {
        let mut inside = self.inside();
        let bucket = inside.buckets.get_mut(bucket).expect("a bucket");
        match contents {
            Some(contents) => drop(bucket.put(key, Bytes::copy_from_slice(contents.as_bytes()), None)),
            None => bucket.delete(key),
        }
    }

    /// Makes a bucket that belongs to somebody else.
    pub fn make_bucket_of_another(&self, name: &str) {
        self.inside().buckets.insert(name.to_owned(), Bucket::new(OTHER_ACCOUNT, ""));
    }

    /// Makes a bucket that belongs to somebody else, who lets everybody read and write.
    pub fn make_open_bucket_of_another(&self, name: &str) {
        let mut bucket = Bucket::new(OTHER_ACCOUNT, "");
        bucket.is_open = true;
        self.inside().buckets.insert(name.to_owned(), bucket);
    }

    /// Deletes a bucket with all that is in it.
    pub fn delete_bucket(&self, name: &str) {
        self.inside().buckets.remove(name);
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The account that a key belongs to, and its secret.
fn account(key_id: &str) -> Option<(&'static str, &'static str)> {
    [(S3Server::KEY, ACCOUNT), (S3Server::OTHER_KEY, OTHER_ACCOUNT)]
        .into_iter()
        .find(|(key, _)| key.id == key_id)
        .map(|(key, account)| (account, key.secret))
}

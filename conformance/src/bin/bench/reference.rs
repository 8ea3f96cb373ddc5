//! What others do with the same work: nginx with static files, a server that says nothing, bare programs on the disk.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use md5::{Digest as _, Md5};
use tokio::net::TcpListener;

use holdall_conformance::Outcome;
use holdall_conformance::clock::Stopwatch;

/// Serves an empty answer with a few headers: what HTTP alone costs.
pub(super) async fn hello(address: &str) -> Outcome<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(|_| async {
                let mut answer = http::Response::new(Full::new(Bytes::new()));
                let headers = answer.headers_mut();
                headers.insert("etag", http::HeaderValue::from_static("\"d41d8cd98f00b204e9800998ecf8427e\""));
                headers.insert("last-modified", http::HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
                Ok::<_, Infallible>(answer)
            });
            // A client that goes away is no failure of a server.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// nginx's configuration: static files, without sendfile, since we cannot use it for checked bytes.
pub(super) fn nginx_configuration(folder: &Path, address: &str) -> String {
    let at = folder.display();
    format!(
        "daemon off;\nworker_processes 2;\npid {at}/nginx.pid;\nerror_log {at}/error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  sendfile off;\n  tcp_nodelay on;\n  keepalive_requests 100000000;\n\
         keepalive_timeout 300;\n  output_buffers 2 256k;\n  default_type application/octet-stream;\n\
         client_body_temp_path {at}/body;\n  proxy_temp_path {at}/proxy;\n  fastcgi_temp_path {at}/fastcgi;\n\
         uwsgi_temp_path {at}/uwsgi;\n  scgi_temp_path {at}/scgi;\n\
         server {{ listen {address}; root {at}/root; }}\n}}\n"
    )
}

/// Files that a static server serves under the keys of a bucket.
pub(super) fn write_files(root: &Path, count: u64, size: u64, key: &dyn Fn(u64) -> String) -> std::io::Result<()> {
    for number in 0..count {
        let path = root.join(super::loads::BUCKET).join(key(number));
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        fs::write(path, vec![b'x'; size as usize])?;
    }
    Ok(())
}

/// Operations a second of a bare program: `threads` create durable files of `size` bytes, each with one name, one
/// write, an fsync and an fsync of its folder.
pub(super) fn durable_files(folder: &Path, size: usize, threads: usize, limit: Duration) -> Outcome<f64> {
    let bytes = vec![7u8; size];
    repeat(threads, limit, |thread, turn| {
        let place = folder.join(format!("{:03}", (thread * 7 + turn as usize) % 64));
        if turn < 64 {
            fs::create_dir_all(&place)?;
        }
        let path = place.join(format!("{thread}-{turn}"));
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        File::open(&place)?.sync_all()
    })
}

/// Operations a second when `threads` append records to one log and one of them syncs for all that wait.
pub(super) fn group_log(folder: &Path, size: usize, threads: usize, limit: Duration) -> Outcome<f64> {
    let file = File::options().append(true).create(true).open(folder.join("log"))?;
    let bytes = vec![7u8; size];
    let (written, synced) = (AtomicU64::new(0), std::sync::Mutex::new(0u64));
    repeat(threads, limit, |_, _| {
        (&file).write_all(&bytes)?;
        let mine = written.fetch_add(1, Ordering::SeqCst) + 1;
        let mut done = synced.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Whoever holds the lock syncs what all others have written meanwhile.
        if *done < mine {
            let until = written.load(Ordering::SeqCst);
            file.sync_data()?;
            *done = until;
        }
        Ok(())
    })
}

/// Bytes a second of `threads` writing large files, each synced.
pub(super) fn large_files(folder: &Path, size: usize, threads: usize, limit: Duration) -> Outcome<f64> {
    let chunk = vec![7u8; 1 << 20];
    let rate = repeat(threads, limit, |thread, turn| {
        let mut file = File::create(folder.join(format!("large-{thread}-{}", turn % 2)))?;
        for _ in 0..size >> 20 {
            file.write_all(&chunk)?;
        }
        file.sync_all()
    })?;
    Ok(rate * size as f64)
}

/// Bytes a second of one core's MD5.
pub(super) fn md5() -> f64 {
    let chunk = vec![7u8; 1 << 20];
    let watch = Stopwatch::start();
    let mut hash = Md5::new();
    let mut bytes = 0u64;
    while !watch.over(Duration::from_millis(700)) {
        hash.update(&chunk);
        bytes += chunk.len() as u64;
    }
    std::hint::black_box(hash.finalize());
    bytes as f64 / watch.elapsed().as_secs_f64()
}

/// Bytes a second of copying files that were just written, one after another: read, checksum, write, fsync.
pub(super) fn copy_files(folder: &Path, size: usize, count: u64) -> Outcome<f64> {
    let (from, to) = (folder.join("from"), folder.join("to"));
    fs::create_dir_all(&from)?;
    fs::create_dir_all(&to)?;
    for number in 0..count {
        fs::write(from.join(number.to_string()), vec![number as u8; size])?;
    }
    let watch = Stopwatch::start();
    let mut buffer = vec![0u8; 256 << 10];
    let mut bytes = 0u64;
    for number in 0..count {
        let mut from = File::open(from.join(number.to_string()))?;
        let mut copy = File::options().write(true).create_new(true).open(to.join(number.to_string()))?;
        loop {
            let read = from.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            std::hint::black_box(twox_hash::XxHash3_64::oneshot(&buffer[..read]));
            copy.write_all(&buffer[..read])?;
            bytes += read as u64;
        }
        copy.sync_all()?;
    }
    Ok(bytes as f64 / watch.elapsed().as_secs_f64())
}

/// Runs an act in threads for a while; answers how often a second.
fn repeat<F>(threads: usize, limit: Duration, act: F) -> Outcome<f64>
where
    F: Fn(usize, u64) -> std::io::Result<()> + Sync,
{
    let done = Arc::new(AtomicU64::new(0));
    let watch = Stopwatch::start();
    let failed: Vec<std::io::Error> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let (act, done) = (&act, Arc::clone(&done));
                scope.spawn(move || {
                    let mut turn = 0;
                    while !watch.over(limit) {
                        act(thread, turn)?;
                        turn += 1;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()?.err()).collect()
    });
    match failed.into_iter().next() {
        Some(error) => Err(error.into()),
        None => Ok(done.load(Ordering::Relaxed) as f64 / watch.elapsed().as_secs_f64()),
    }
}

//! Somebody's proxy that drops what it does not know.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Serves one request a connection and takes every If-* header out of it.
pub(crate) async fn strip_conditions(endpoint: &str) -> String {
    let target = endpoint.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let target = target.clone();
            // A connection that breaks off is the test's to notice.
            tokio::spawn(async move { drop(relay(client, &target).await) });
        }
    });
    address
}

async fn relay(client: TcpStream, target: &str) -> std::io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    let (from_client, mut to_client) = client.into_split();
    let mut from_client = BufReader::new(from_client);
    let mut length = 0;
    loop {
        let mut line = String::new();
        from_client.read_line(&mut line).await?;
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        if !lower.starts_with("if-") && !lower.starts_with("connection:") {
            server.write_all(line.as_bytes()).await?;
        }
    }
    server.write_all(b"connection: close\r\n\r\n").await?;
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        let sent = tokio::io::copy(&mut from_client.take(length), &mut to_server).await?;
        // A body that breaks off must not end like a whole one.
        if sent < length { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    };
    tokio::try_join!(up, async { tokio::io::copy(&mut from_server, &mut to_client).await })?;
    Ok(())
}

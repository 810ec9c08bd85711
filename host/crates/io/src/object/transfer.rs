//! Files to objects and back, chunk by chunk.
//!
//! Some chunks are on their way at a time, and no more are in memory. An object of several chunks is one upload in parts: it is there when the last
//! one is, and not before.

use super::Copied;
use super::error::Trouble;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use object_store::path::Path as Name;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, WriteMultipart};
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Bytes of a chunk: a part of an upload has 5 MiB at least.
pub(super) const CHUNK_BYTES: u64 = 8 << 20;
/// Parts of an upload: stores take 10,000.
const PARTS_MAX: u64 = 9_000;
/// Chunks on their way.
const TOGETHER: usize = 4;

fn broken(file: &Path) -> impl Fn(io::Error) -> Trouble {
    let file = file.display().to_string();
    move |error| Trouble::File(format!("{file}: {error}"))
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes an object of a file.
pub(super) async fn send(store: &Arc<dyn ObjectStore>, at: &Name, file: &Path) -> Result<Copied, Trouble> {
    let mut from = File::open(file).await.map_err(broken(file))?;
    let size = from.metadata().await.map_err(broken(file))?.len();
    let chunk_bytes = CHUNK_BYTES.max(size.div_ceil(PARTS_MAX));
    let mut hash = Sha256::new();
    if size <= chunk_bytes {
        let content = chunk(&mut from, size).await.map_err(broken(file))?;
        hash.update(&content);
        let bytes = content.len() as u64;
        store.put(at, PutPayload::from(content)).await?;
        return Ok(Copied { bytes, digest: hexadecimal(hash) });
    }
    let upload = store.put_multipart(at).await?;
    let mut upload = WriteMultipart::new_with_chunk_size(upload, chunk_bytes as usize);
    match send_parts(&mut upload, (&mut from, file), (size, chunk_bytes), &mut hash).await {
        Ok(()) => {
            upload.finish().await?;
            Ok(Copied { bytes: size, digest: hexadecimal(hash) })
        }
        Err(trouble) => {
            // parts that stay cost their owner until somebody removes them; the trouble itself is what is told
            drop(upload.abort().await);
            Err(trouble)
        }
    }
}

/// Sends a file of this size in chunks.
async fn send_parts(
    upload: &mut WriteMultipart,
    (from, file): (&mut File, &Path),
    (size, chunk_bytes): (u64, u64),
    hash: &mut Sha256,
) -> Result<(), Trouble> {
    let mut left = size;
    while left > 0 {
        let wanted = left.min(chunk_bytes);
        let content = chunk(from, wanted).await.map_err(broken(file))?;
        if content.len() as u64 != wanted {
            return Err(Trouble::File(format!("{} became shorter", file.display())));
        }
        left -= wanted;
        hash.update(&content);
        upload.wait_for_capacity(TOGETHER).await?;
        upload.put(content);
    }
    Ok(())
}

/// The next bytes of a file, so many unless it ends.
async fn chunk(from: &mut File, bytes: u64) -> io::Result<Bytes> {
    let bytes = bytes as usize;
    let mut content = BytesMut::with_capacity(bytes);
    let mut part = from.take(bytes as u64);
    while content.len() < bytes && part.read_buf(&mut content).await? > 0 {}
    Ok(content.freeze())
}

/// Makes a file of an object.
pub(super) async fn fetch(store: &Arc<dyn ObjectStore>, at: &Name, size: u64, file: &Path) -> Result<Copied, Trouble> {
    let mut to = File::create(file).await.map_err(broken(file))?;
    let begins = (0..size).step_by(CHUNK_BYTES as usize);
    let chunks = begins.map(|begin| {
        let (store, at) = (Arc::clone(store), at.clone());
        async move { store.get_range(&at, begin..size.min(begin + CHUNK_BYTES)).await }
    });
    let mut chunks = futures_util::stream::iter(chunks).buffered(TOGETHER);
    let (mut bytes, mut hash) = (0, Sha256::new());
    while let Some(content) = chunks.next().await {
        let content = content?;
        bytes += content.len() as u64;
        hash.update(&content);
        to.write_all(&content).await.map_err(broken(file))?;
    }
    to.flush().await.map_err(broken(file))?;
    to.sync_all().await.map_err(broken(file))?;
    Ok(Copied { bytes, digest: hexadecimal(hash) })
}

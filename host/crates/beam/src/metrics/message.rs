//! Metrics whose payload is a message: bounded tries and histograms, to and from the engine's.

use bytes::Bytes;
use prost::Message as _;
use thalweg_core::error::{Domain, Error, Result};
use thalweg_core::metric::{BoundedTrie, Buckets, Histogram, TrieNode};
use thalweg_proto::pipeline as proto;
use thalweg_proto::pipeline::histogram_value::BucketOptions;
use thalweg_proto::pipeline::histogram_value::bucket_options::{Base2Exponent, BucketType, Linear};

fn malformed(error: &prost::DecodeError) -> Error {
    Error::new("CODER_MALFORMED", Domain::Guest, format!("a metric's payload cannot be read: {error}"))
}

/// Reads a trie.
///
/// # Errors
/// `CODER_MALFORMED`.
pub(super) fn trie(payload: &Bytes) -> Result<BoundedTrie> {
    let read = proto::BoundedTrie::decode(payload.clone()).map_err(|e| malformed(&e))?;
    let mut root = read.root.map(node);
    if !read.singleton.is_empty() {
        root.get_or_insert_default().add(read.singleton.iter().map(String::as_str));
    }
    Ok(BoundedTrie { bound: usize::try_from(read.bound).unwrap_or_default(), root })
}

fn node(read: proto::BoundedTrieNode) -> TrieNode {
    let children = read.children.into_iter().map(|(part, child)| (part, node(child)));
    TrieNode { truncated: read.truncated, children: children.collect() }
}

/// Writes a trie, always with its root.
pub(super) fn write_trie(trie: &BoundedTrie) -> Bytes {
    let bound = i32::try_from(trie.bound).unwrap_or(i32::MAX);
    let root = trie.root.as_ref().map(write_node);
    proto::BoundedTrie { bound, root, singleton: Vec::new() }.encode_to_vec().into()
}

fn write_node(node: &TrieNode) -> proto::BoundedTrieNode {
    let children = node.children.iter().map(|(part, child)| (part.clone(), write_node(child)));
    proto::BoundedTrieNode { truncated: node.truncated, children: children.collect() }
}

/// Reads a histogram.
///
/// # Errors
/// `CODER_MALFORMED`.
pub(super) fn histogram(payload: &Bytes) -> Result<Histogram> {
    let read = proto::HistogramValue::decode(payload.clone()).map_err(|e| malformed(&e))?;
    let buckets = read.bucket_options.and_then(|options| options.bucket_type).map(|kind| match kind {
        BucketType::Linear(linear) => Buckets::Linear {
            number: linear.number_of_buckets.unwrap_or_default(),
            width: linear.width.unwrap_or_default(),
            start: linear.start.unwrap_or_default(),
        },
        BucketType::Exponential(of) => Buckets::Exponential {
            number: of.number_of_buckets.unwrap_or_default(),
            scale: of.scale.unwrap_or_default(),
        },
    });
    Ok(Histogram { count: read.count.unwrap_or_default(), buckets, counts: read.bucket_counts })
}

/// Writes a histogram.
pub(super) fn write_histogram(histogram: &Histogram) -> Bytes {
    let bucket_options = histogram.buckets.map(|buckets| {
        let kind = match buckets {
            Buckets::Linear { number, width, start } => {
                BucketType::Linear(Linear { number_of_buckets: Some(number), width: Some(width), start: Some(start) })
            }
            Buckets::Exponential { number, scale } => {
                BucketType::Exponential(Base2Exponent { number_of_buckets: Some(number), scale: Some(scale) })
            }
        };
        BucketOptions { bucket_type: Some(kind) }
    });
    let value =
        proto::HistogramValue { count: Some(histogram.count), bucket_options, bucket_counts: histogram.counts.clone() };
    value.encode_to_vec().into()
}

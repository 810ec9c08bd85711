//! Names of the host's own functions. Payloads are JSON, in [`payload`](super::payload).

/// Rows that stand in the pipeline itself.
pub const CREATE: &str = "thalweg:fn:create:v1";
/// Combines rows by key before the grouping.
pub const PRECOMBINE: &str = "thalweg:fn:combine_precombine:v1";
/// Merges accumulators after the grouping and gives rows.
pub const MERGE: &str = "thalweg:fn:combine_merge:v1";
/// Adds window and time of a row to its fields.
pub const WINDOWING_INFO: &str = "thalweg:fn:extract_windowing_info:v1";
/// Copies, drops, renames and orders fields.
pub const MAP_FIELDS: &str = "thalweg:fn:map_fields:v1";
/// Logs rows and passes them on.
pub const LOG: &str = "thalweg:fn:log:v1";
/// JSON text to rows.
pub const PARSE_JSON: &str = "thalweg:fn:parse_json:v1";
/// Records of Kafka to the rows their values hold. Payload: [`DecodeRecords`](super::payload::DecodeRecords).
pub const DECODE_RECORDS: &str = "thalweg:fn:decode_records:v1";
/// Plain values to rows of one field.
pub const WRAP_VALUE: &str = "thalweg:fn:wrap_value:v1";
/// Rows of one field to plain values.
pub const UNWRAP_VALUE: &str = "thalweg:fn:unwrap_value:v1";
/// Rows to pairs of key and value.
pub const ROWS_TO_PAIRS: &str = "thalweg:fn:rows_to_pairs:v1";
/// Pairs to rows.
pub const PAIRS_TO_ROWS: &str = "thalweg:fn:pairs_to_rows:v1";
/// Joins rows with a table. Payload: [`TableJoin`](crate::table::TableJoin).
pub const TABLE_JOIN: &str = "thalweg:fn:table_join:v1";

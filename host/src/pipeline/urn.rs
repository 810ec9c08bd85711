//! Names of native transforms, and of the standard ones that front doors use.

/// Reads text files. Payload: [`TextSource`](crate::compose::payload::TextSource).
pub const SOURCE_TEXT: &str = "thalweg:source:text:v1";
/// Reads Kafka topics. Payload: [`KafkaSource`](crate::compose::payload::KafkaSource).
pub const SOURCE_KAFKA: &str = "thalweg:source:kafka:v1";
/// Writes rows to a file, a line each. Payload: [`FileSink`](crate::compose::payload::FileSink).
pub const SINK_FILE: &str = "thalweg:sink:file:v1";
/// Writes rows to a Kafka topic. Payload: [`KafkaSink`](crate::compose::payload::KafkaSink).
pub const SINK_KAFKA: &str = "thalweg:sink:kafka:v1";
/// Takes elements of any kind and keeps nothing: for measuring what stands before it. No payload.
pub const SINK_DISCARD: &str = "thalweg:sink:discard:v1";
/// A function of a component. Payload: [`WasmCall`](crate::compose::payload::WasmCall).
pub const WASM: &str = "thalweg:transform:wasm:v1";
/// A WindowFn of a component. Payload: [`WasmCall`](crate::compose::payload::WasmCall).
pub const WASM_WINDOW_FN: &str = "thalweg:window_fn:wasm:v1";

/// One empty element, once.
pub const IMPULSE: &str = "beam:transform:impulse:v1";
/// Union.
pub const FLATTEN: &str = "beam:transform:flatten:v1";
/// Groups by key and window.
pub const GROUP_BY_KEY: &str = "beam:transform:group_by_key:v1";
/// Assigns the windows of the output's windowing strategy.
pub const WINDOW_INTO: &str = "beam:transform:window_into:v1";

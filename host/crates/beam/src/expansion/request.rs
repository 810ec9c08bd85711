//! The question: which transform, with what configuration, on which inputs.

use super::{Options, Value, malformed, message, value};
use crate::error::Result;
use crate::urn::coder as coder_urn;
use thalweg_core::error::Error;
use thalweg_proto::expansion::ExpansionRequest;
use thalweg_proto::pipeline::{
    Coder, Components, ExternalConfigurationPayload, Schema, SchemaTransformPayload, is_bounded,
};

/// The URN of a transform that is named by an identifier. Source: `ExpansionMethods.SCHEMA_TRANSFORM`.
const SCHEMA_TRANSFORM: &str = "beam:expansion:payload:schematransform:v1";
/// The URN of a transform that is named by a class. Source: `ExpansionMethods.JAVA_CLASS_LOOKUP`.
const JAVA_CLASS: &str = "beam:expansion:payload:java_class_lookup:v1";

/// A request, read.
#[derive(Clone, Debug)]
pub struct Request {
    /// Unique name of the transform in its pipeline.
    pub name: String,
    /// Its URN; of a schema transform the identifier.
    pub urn: String,
    /// Its configuration.
    pub configuration: Vec<(String, Value)>,
    /// Its inputs by tag.
    pub inputs: Vec<Input>,
    components: Components,
}

/// An input of the transform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Input {
    /// Its tag.
    pub tag: String,
    /// Id of the collection.
    pub collection: String,
    /// Id of its coder.
    pub coder: String,
    /// Whether it ends.
    pub bounded: bool,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// `EXPANSION_PAYLOAD` when it is malformed, `EXPANSION_UNKNOWN` for the name of a class.
    pub fn new(request: ExpansionRequest) -> Result<Self> {
        let transform = request.transform.ok_or_else(|| malformed("it has no transform"))?;
        let spec = transform.spec.unwrap_or_default();
        let components = request.components.unwrap_or_default();
        let (urn, schema, row) = match spec.urn.as_str() {
            SCHEMA_TRANSFORM => {
                let payload: SchemaTransformPayload = message(&spec.payload, "payload")?;
                (payload.identifier, payload.configuration_schema, payload.configuration_row)
            }
            JAVA_CLASS => {
                return Err(Error::user(
                    "EXPANSION_UNKNOWN",
                    "a transform named by a Java class cannot be expanded here",
                )
                .help(
                    "there is no JVM behind this service: name the transform by its URN, or start Beam's own service",
                ));
            }
            urn => {
                let payload: ExternalConfigurationPayload = message(&spec.payload, "payload")?;
                (urn.to_owned(), payload.schema, payload.payload)
            }
        };
        let configuration = match schema {
            Some(schema) => value::row(&schema, &row)?,
            None if row.is_empty() => Vec::new(),
            None => return Err(malformed("the configuration has no schema")),
        };
        let mut inputs = Vec::new();
        for (tag, id) in &transform.inputs {
            let collection = components.pcollections.get(id);
            let collection = collection.ok_or_else(|| malformed(&format!("there is no collection {id:?}")))?;
            inputs.push(Input {
                tag: tag.clone(),
                collection: id.clone(),
                coder: collection.coder_id.clone(),
                bounded: collection.is_bounded != is_bounded::Enum::Unbounded as i32,
            });
        }
        Ok(Self { name: transform.unique_name, urn, configuration, inputs, components })
    }

    /// The configuration as options.
    #[must_use]
    pub fn options(&self) -> Options {
        Options::new(&self.urn, self.configuration.clone())
    }

    /// The one input.
    ///
    /// # Errors
    /// `EXPANSION_INPUT` when there are none or several.
    pub fn input(&self) -> Result<&Input> {
        match self.inputs.as_slice() {
            [one] => Ok(one),
            all => Err(self.wrong_input(&format!("has {} inputs and needs one", all.len()))),
        }
    }

    /// Checks that it is applied to the pipeline itself.
    ///
    /// # Errors
    /// `EXPANSION_INPUT` when it has an input.
    pub fn no_input(&self) -> Result<()> {
        if self.inputs.is_empty() { Ok(()) } else { Err(self.wrong_input("reads, and has no input")) }
    }

    /// An error about the input.
    #[must_use]
    pub fn wrong_input(&self, why: &str) -> Error {
        Error::user("EXPANSION_INPUT", format!("{} {why}", self.urn))
            .help("check what the transform is applied to, and the types that the step before it declares")
    }

    /// A coder with its URN; empty for one that is not there.
    #[must_use]
    pub fn coder(&self, id: &str) -> (&str, &[String]) {
        let coder = self.components.coders.get(id);
        let parts = coder.map_or(&[][..], |c: &Coder| c.component_coder_ids.as_slice());
        (coder.and_then(|c| c.spec.as_ref()).map_or("", |s| s.urn.as_str()), parts)
    }

    /// The schema of a collection of rows; none for other collections.
    ///
    /// # Errors
    /// `EXPANSION_PAYLOAD` when the row coder has no schema.
    pub fn schema(&self, coder: &str) -> Result<Option<Schema>> {
        let spec = self.components.coders.get(coder).and_then(|c| c.spec.as_ref());
        let spec = spec.filter(|s| s.urn == coder_urn::ROW);
        spec.map(|s| message(&s.payload, "schema of a row coder")).transpose()
    }
}

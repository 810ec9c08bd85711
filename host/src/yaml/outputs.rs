//! What transforms give, how it is named, and the rule that declared errors are read.

use super::node::Node;
use super::spec::{Body, Output, Reference, Step};
use super::suggest::did_you_mean;
use super::transforms;
use crate::pipeline::Collection;
use thalweg_core::error::Result;

/// What a transform gives.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// What the transform's bare name means.
    pub main: Option<Collection>,
    /// What `Name.output` means; the main output may be among them.
    pub named: Vec<(String, Collection)>,
}

impl Outputs {
    /// One output, called `output`.
    pub fn one(collection: Collection) -> Self {
        Self { named: vec![("output".to_owned(), collection.clone())], main: Some(collection) }
    }
}

/// An output by name, or the main one.
pub fn pick(outputs: &Outputs, label: &str, output: Option<&str>) -> Result<Collection, (String, String)> {
    let names: Vec<&str> = outputs.named.iter().map(|(n, _)| n.as_str()).collect();
    if let Some(name) = output {
        let found = outputs.named.iter().find(|(n, _)| n == name).map(|(_, c)| c.clone());
        return found.ok_or_else(|| (format!("`{label}` has no output `{name}`"), did_you_mean(name, &names)));
    }
    match (&outputs.main, outputs.named.as_slice()) {
        (Some(main), _) => Ok(main.clone()),
        (None, []) => {
            Err((format!("`{label}` has no output"), "read from a transform that gives something".to_owned()))
        }
        (None, _) => {
            let list: Vec<String> = names.iter().map(|n| format!("`{label}.{n}`")).collect();
            Err((format!("`{label}` has several outputs"), format!("name one of them: {}", list.join(", "))))
        }
    }
}

/// A declared error output has to be read by someone, or bad rows would vanish unseen. What the last transform of a chain
/// gives goes out of the chain, so there its error output is the chain's, and has to be read where the chain stands.
pub fn check_errors_are_read(step: &Step, body: &Body) -> Result<()> {
    let Some(output) = unread(step, body)? else { return Ok(()) };
    if let Output::All(last) = body.output
        && body.steps.get(last).is_some_and(|s| std::ptr::eq(s, step))
    {
        return Ok(());
    }
    let wanted = format!("{}.{}", step.label, output.text()?);
    Err(output
        .place
        .error("YAML_ERRORS_UNREAD", format!("nothing reads the error output `{wanted}`"))
        .help(format!("give it to a transform, for example WriteToJson with `input: {wanted}`")))
}

/// The error output of a transform, or of the last one inside it, that no transform beside it reads.
fn unread<'s>(step: &'s Step, body: &Body) -> Result<Option<&'s Node>> {
    let own = match &step.body {
        Some(inner) => match inner.output {
            Output::All(last) => inner.steps.get(last).map_or(Ok(None), |last| unread(last, inner))?,
            _ => None,
        },
        None => transforms::error_output(&step.config)?,
    };
    let Some(output) = own else { return Ok(None) };
    let name = output.text()?;
    let full = [format!("{}.{name}", step.label), format!("{}.{name}", step.kind)];
    let references = body.steps.iter().flat_map(|s| &s.inputs).flat_map(|(_, r)| r);
    let exported = match &body.output {
        Output::Named(named) => named.iter().map(|(_, r)| r).collect(),
        _ => Vec::new(),
    };
    let read = references.chain(exported).any(|r| match r {
        Reference::Name(name, _) => full.contains(name),
        Reference::Step(_, Some((output, _))) => output == name,
        _ => false,
    });
    Ok((!read).then_some(output))
}
